// Times are written in UTC, which is the same for everybody. In a browser they are shown
// in its own time zone, by name, and in both when they are pointed at.

const format = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" }); // 2026-11-28 22:36:05
const zone = new Intl.DateTimeFormat(document.documentElement.lang, { timeZoneName: "short" });

function show(time) {
  const at = new Date(time.dateTime);
  // Parts that form.js replaces are compared with what the server sends.
  if (isNaN(at) || time.closest("[data-part]")) return;
  const local = `${format.format(at)} ${zone.formatToParts(at).find((p) => p.type === "timeZoneName").value}`;
  const title = `${local} (${time.dateTime.replace("T", " ").replace("Z", " UTC")})`;
  if (time.title === title) return;
  time.title = title;
  if (!("ago" in time.dataset)) time.textContent = local; // others are told as how long ago
}

new MutationObserver((changes) => {
  for (const c of changes) for (const n of c.addedNodes) {
    if (n instanceof Element) for (const t of n.matches("time") ? [n] : n.querySelectorAll("time")) show(t);
  }
}).observe(document.body, { childList: true, subtree: true });
for (const t of document.querySelectorAll("time")) show(t);
