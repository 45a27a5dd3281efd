// Fetches the page anew while it is seen, and replaces what is live: the filters, the focus and what is unfolded stay.
const every = 5000, patience = 10000;
const live = document.getElementById("live"), news = document.getElementById("news"), pause = document.getElementById("pause");
let timer = 0, paused = false, asking = false;

const say = (text) => { if (news.textContent !== text) news.textContent = text; };

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html"), now = fresh.getElementById("live");
  if (!now) throw new Error("no status in the answer");
  const open = new Set([...live.querySelectorAll("details[open]")].map((d) => d.id));
  for (const d of now.querySelectorAll("details")) d.open = open.has(d.id);
  const focus = live.contains(document.activeElement) ? document.activeElement.id : "";
  live.replaceChildren(...now.childNodes);
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  document.title = fresh.title;
  say(fresh.getElementById("news").textContent);
}

async function update() {
  if (asking || paused || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" }, signal: AbortSignal.timeout(patience) });
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    if (!paused) show(text);
  } catch {
    say("The agent does not answer. What is shown is old.");
  }
  asking = false;
}

function run() {
  clearInterval(timer);
  if (paused || document.hidden) return;
  timer = setInterval(update, every);
}

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  run();
  update();
});
document.addEventListener("visibilitychange", () => { run(); update(); });
pause.hidden = false;
run();
