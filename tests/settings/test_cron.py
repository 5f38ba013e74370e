import pytest

from settings.cron import normalise_cron
from tests.fakes.kubeflow.bodies import require_cron
from tests.fakes.loopback_server import Refused


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("*/15  0-6,22 1 JAN-mar mon", "*/15 0-6,22 1 JAN-mar mon"),
        ("0 3 29 2 *", "0 3 29 2 *"),
        ("0 3 31 2 1", "0 3 31 2 1"),  # either day will do, and Mondays come
        ("0 3 * * 7", "0 3 * * 0"),
        ("0 3 * * 5-7", "0 3 * * 0,5,6"),
        ("0 3 * * 1,07", "0 3 * * 0,1"),
        ("0 3 * * 1-7/2", "0 3 * * 0,1,3,5"),
        ("7 7 7 7 */7", "7 7 7 7 */7"),
        ("@daily", "0 0 * * *"),
        (" @Weekly ", "0 0 * * 0"),
        ("@midnight", "0 0 * * *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_normalise_cron_gives_what_both_platforms_take(text: str, sent: str) -> None:
    assert normalise_cron(text) == sent


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("99 99 99 99 99", "minute"),
        ("0 25 * * *", "hour"),
        ("61 3 * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("5-1 * * * *", "minute"),
        ("0 3 0 * *", "day of month"),
        ("0 3 31 2 *", "day of month"),
        ("0 3 31 4,6,9,11 *", "day of month"),
        ("0 3 * 13 *", "month"),
        ("0 3 * * 8", "day of week"),
        ("0 3 ? * 1", "day of month"),
        ("- - - - -", "minute"),
        ("a b c d e", "minute"),
        ("0 3 L * *", "extensions"),
        ("0 3 * * 5L", "extensions"),
        ("0 3 * * 5#2", "extensions"),
        ("at night", "2 fields"),
        ("0 0 3 * * *", "6 fields"),
        ("@reboot", "1 fields"),
        ("", "0 fields"),
    ],
)
def test_normalise_cron_refuses_what_one_platform_would(text: str, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        normalise_cron(text)


@pytest.mark.parametrize("text", ["0 3 * * 7", "0 3 * * 5-7", "*/15 0-6,22 1 JAN-MAR MON", "@weekly", "5/10 * * * *"])
def test_normalise_cron_is_taken_by_kubeflow(text: str) -> None:
    require_cron(f"0 {normalise_cron(text)}")


def test_require_cron_refuses_sunday_as_seven() -> None:
    with pytest.raises(Refused):
        require_cron("0 0 3 * * 7")
