// On a narrow screen the tabs of the admin pages scroll: the current one is shown.

document.querySelector("nav[aria-label=Admin] [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
