// Shows how far a run is without loading the page again; without scripts the page loads itself.
const PAUSE_MS = 2000;
for (const part of document.querySelectorAll("[data-live]")) {
  const look = async () => {
    try {
      const answer = await fetch(part.dataset.live);
      if (answer.status === 204) return location.reload(); // it has ended
      if (answer.ok) part.innerHTML = await answer.text();
    } catch {
      // The server is away for the moment.
    }
    setTimeout(look, PAUSE_MS);
  };
  setTimeout(look, PAUSE_MS);
}
