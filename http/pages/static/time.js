// Times are written in UTC, which is the same for everybody. In a browser they are shown
// in its own time zone, by name, and in both when they are pointed at; some as how long ago
// they were.

const format = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" }); // 2026-11-28 22:36:05
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { style: "narrow" });
const zone = new Intl.DateTimeFormat(document.documentElement.lang, { timeZoneName: "short" });

function show(time) {
  const at = new Date(time.dateTime);
  // Parts that form.js replaces are compared with what the server sends.
  if (isNaN(at) || time.closest("[data-part]")) return;
  const local = `${format.format(at)} ${zone.formatToParts(at).find((p) => p.type === "timeZoneName").value}`;
  const title = `${local} (${time.dateTime.replace("T", " ").replace("Z", " UTC")})`;
  if (time.title === title) return;
  time.title = title;
  if (!("ago" in time.dataset)) time.textContent = local;
  else ago(time);
}

// ago writes a time as how long ago it was.
function ago(time) {
  const s = Math.round((Date.parse(time.dateTime) - Date.now()) / 1000);
  const [n, unit] = Math.abs(s) < 60 ? [s, "second"] : Math.abs(s) < 3600 ? [Math.round(s / 60), "minute"]
    : Math.abs(s) < 86400 ? [Math.round(s / 3600), "hour"] : [Math.round(s / 86400), "day"];
  const text = relative.format(Math.min(n, 0), unit);
  if (time.textContent !== text) time.textContent = text;
}

new MutationObserver((changes) => {
  for (const c of changes) for (const n of c.addedNodes) {
    if (n instanceof Element) for (const t of n.matches("time") ? [n] : n.querySelectorAll("time")) show(t);
  }
}).observe(document.body, { childList: true, subtree: true });
for (const t of document.querySelectorAll("time")) show(t);
setInterval(() => {
  for (const t of document.querySelectorAll("time[data-ago]")) ago(t);
}, 1000);
