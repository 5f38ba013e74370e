// In a frame without an address, as in Kubeflow's UI, a link to a section leads to the page around it. Here it scrolls.
if (window !== window.parent) {
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const section = document.getElementById(link.getAttribute("href").slice(1));
      section.scrollIntoView();
      section.tabIndex = -1; // so that it takes the focus, as where a browser follows a link itself
      section.focus({ preventScroll: true });
    });
  }
}
