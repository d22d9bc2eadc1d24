// All that pages need of their own: to say that the router no longer answers. What is shown then is of the past.
"use strict";
(() => {
  const lost = () => document.getElementById("lost");
  const say = () => {
    const note = lost();
    if (note === null || !note.hidden) return;
    const since = new Date().toISOString().slice(11, 16);
    note.textContent = `The router does not answer since ${since} UTC. What you see is from before.`;
    note.hidden = false;
  };
  document.addEventListener("htmx:sendError", say);
  document.addEventListener("htmx:timeout", say);
  document.addEventListener("htmx:responseError", say);
  document.addEventListener("htmx:afterOnLoad", (event) => {
    const note = lost();
    if (note !== null && event.detail.xhr.status < 400) note.hidden = true;
  });
})();
