// The slider asks for the same page at another threshold, and shows those parts of the answer that follow it.
const slider = document.querySelector(".slider");
if (slider) {
  const range = slider.querySelector("input");
  const shown = slider.querySelector("output");
  const field = document.querySelector("input[name=threshold]");
  let asked = null;

  const show = async () => {
    asked?.abort();
    asked = new AbortController();
    const address = new URL(location.href);
    address.searchParams.set("threshold", range.value);
    const answer = await fetch(address, { signal: asked.signal });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const found = page.querySelector(`[data-part="${part.dataset.part}"]`);
      if (found) part.replaceChildren(...found.childNodes);
    }
    history.replaceState(null, "", address);
  };

  slider.hidden = false;
  range.addEventListener("input", () => {
    shown.value = range.value;
    range.setAttribute("aria-valuetext", range.value);
    field.value = range.value;
    show().catch((error) => {
      if (error.name !== "AbortError") throw error;
    });
  });
}
