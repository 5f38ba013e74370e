"""The settings of notifications. Secrets are named here, never held."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slipway.errors import ConfigError
from slipway.references import SecretReference

Event = Literal["failure", "refused", "rollback", "success"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Address = Annotated[str, Field(pattern=r"^$|^[^\r\n]+@[^\r\n]+$")]


class Email(_Strict):
    """E-mail by SMTP.

    Attributes:
        host: The mail server; empty for no e-mail.
        port: Its port.
        security: Encryption of the connection; `none` excludes a login.
        sender: Address of the sender.
        recipients: Addresses of the recipients.
        username: Login; empty if the server needs none.
        password: Password of the login, as a reference to a secret.
    """

    host: str = ""
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Address = ""
    recipients: tuple[Address, ...] = ()
    username: str = ""
    password: SecretReference = ""


class Webhook(_Strict):
    """A POST of `{"text": …}`, as Slack, Mattermost and Google Chat accept it.

    Attributes:
        url: The webhook's address, as a reference to a secret; empty for none.
    """

    url: SecretReference = ""


class Notifications(_Strict):
    """Notifications of failed runs, refused models, rollbacks and successes.

    A secret is named as `env:VARIABLE`, `file:/PATH` or, of Google's Secret Manager,
    `projects/PROJECT/secrets/NAME/versions/latest`.

    Attributes:
        events: Events to notify of.
        stdout: Whether the message is printed into the step's log.
        ca_file: Certificates of a private authority to trust, for all channels.
        timeout_seconds: Limit for all channels together.
    """

    events: tuple[Event, ...] = ("failure", "refused", "rollback")
    stdout: bool = False
    email: Email = Email()
    webhook: Webhook = Webhook()
    ca_file: str = ""
    timeout_seconds: float = Field(30, gt=0, le=300)

    @property
    def channels(self) -> list[str]:
        """Names of the channels that are set up."""
        chosen = {"stdout": self.stdout, "email": self.email.host, "webhook": self.webhook.url}
        return [name for name, setting in chosen.items() if setting]

    def require_complete(self) -> None:
        """Raises a ConfigError if the settings of e-mail are incomplete or contradict each other."""
        email = self.email
        if not email.host:
            return
        where = "in settings/<environment>.yaml"
        if not (email.sender and email.recipients):
            raise ConfigError(
                f"notifications.email.host = {email.host!r} needs notifications.email.sender and .recipients {where}"
            )
        if bool(email.username) != bool(email.password):
            raise ConfigError(f"notifications.email needs username and password, or neither, {where}")
        if email.username and email.security == "none":
            raise ConfigError(
                "notifications.email.security = 'none' would send the password in the clear: use starttls or tls, or "
                f"drop username and password {where}"
            )
