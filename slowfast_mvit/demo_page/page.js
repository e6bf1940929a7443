// Sends a file, says how far it is, and shows what came of it. Names are only ever put in as text.

import { Chart, clock, element } from "./chart.js";

const POLL_MS = 300, MOST_SILENT = 20;
const get = (id) => document.getElementById(id);
const { what, suffixes, maxBytes, max } = document.body.dataset;
const player = get("player"), picture = get("picture");
let turn = 0;  // of the file that is shown: what comes late for an older one is dropped
let sending = null, kept = "", shownUrl = "", scores = null, shownPlace = -1;

const chart = new Chart(get("chart"), seek);

// Sending

get("file").addEventListener("change", (event) => {
  if (event.target.files.length) send(event.target.files[0]);
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const files = event.dataTransfer.files;
  if (files.length > 1) fail("Drop one file, and the next when it is looked at.");
  else if (files.length) send(files[0]);
});
get("stop").addEventListener("click", () => {
  leave();
  get("file").focus();
});
window.addEventListener("pagehide", () => leave());

/** Forget the file of before, here and on the server. */
function leave() {
  turn += 1;
  sending?.abort();
  sending = null;
  if (kept) fetch(`files/${kept}`, { method: "DELETE", keepalive: true }).catch(() => {});
  kept = "";
  for (const id of ["problem", "work", "result"]) get(id).hidden = true;
  player.removeAttribute("src");
  player.load();
  picture.removeAttribute("src");
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = "";
  chart.clear();
  scores = null;
}

function send(file) {
  leave();
  const mine = turn, suffix = /\.[^.]*$/.exec(file.name.toLowerCase())?.[0];
  if (!suffixes.split(" ").includes(suffix)) return fail(`${file.name} does not end as ${what === "image" ? "an image" : "a video"} does: choose one.`);
  if (file.size > Number(maxBytes)) return fail(`${file.name} is too large: files may have ${max}.`);
  work("Sending", 0);
  const request = new XMLHttpRequest();
  sending = request;
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => {
    if (mine === turn && event.lengthComputable) work("Sending", event.loaded / event.total);
  });
  request.addEventListener("load", () => {
    if (mine !== turn) return;
    sending = null;
    if (request.status !== 201) return fail(request.response?.problem ?? `The server answered ${request.status}.`);
    kept = request.response.id;
    follow(file, mine);
  });
  request.addEventListener("error", () => {
    if (mine === turn) fail("The server ended the sending: it may have stopped, or the file may have changed meanwhile.");
  });
  request.open("POST", `files?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("content-type", "application/octet-stream");
  request.send(file);
}

async function follow(file, mine) {
  let silent = 0;
  while (mine === turn) {
    let told = null, status = 0;
    try {
      const answer = await fetch(`files/${kept}`);
      status = answer.status;
      told = await answer.json();
      silent = 0;
    } catch {
      silent += 1;
    }
    if (mine !== turn) return;
    if (silent > MOST_SILENT) return fail("The server does not answer any more.");
    if (status >= 400) return fail(told?.problem ?? `The server answered ${status}.`);
    if (told?.state === "failed") return fail(told.problem);
    if (told?.state === "done") return show(file, told);
    if (told?.before) work(`Waiting: ${told.before} before this one`, null);
    else if (told) work("Looking", told.share);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** `share` is null while nobody knows it. */
function work(words, share) {
  get("work").hidden = false;
  const said = `${words} …`;
  if (get("state").textContent !== said) get("state").textContent = said;  // so that it is read out once
  if (share === null) get("share").removeAttribute("value");
  else get("share").value = share;
}

function fail(problem) {
  get("work").hidden = true;
  get("problem").textContent = problem.replace(/[^.]$/, "$&.");
  get("problem").hidden = false;
}

// Showing

function show(file, told) {
  get("work").hidden = true;
  get("result").hidden = false;
  get("result-name").textContent = file.name;
  get("result-problem").textContent = told.problem;
  get("result-problem").hidden = !told.problem;
  shownUrl = told.drawn ? "" : URL.createObjectURL(file);
  const source = told.drawn ? `files/${kept}/drawn` : shownUrl;
  get("unplayable").hidden = true;
  player.hidden = what === "image";
  picture.hidden = what !== "image";
  if (what === "image") {
    picture.alt = `The image ${file.name}`;
    picture.src = source;
  } else {
    player.src = source;
  }
  scores = told.scores;
  get("along").hidden = !scores?.windows.length;
  get("lists").replaceChildren();
  if (scores) showScores(); else showFound(told.drawn);
}

for (const shown of [player, picture]) {
  shown.addEventListener("error", () => {
    if (!shown.getAttribute("src")) return;
    shown.hidden = true;
    get("unplayable").hidden = false;
  });
}

function showScores() {
  const { windows, curves, whole } = scores;
  get("more").hidden = !windows.length;
  get("lists").append(...bars(what === "image" ? "The image" : "The whole video", "whole", whole));
  if (!windows.length) return;
  get("lists").prepend(...bars("Here", "here", []));
  get("legend").replaceChildren(...curves.map((curve, order) => {
    const line = element("svg", { "aria-hidden": "true" }), item = make("li");
    line.append(element("line", { class: `curve of-${order}`, x1: 0, x2: 32, y1: 5, y2: 5 }));
    item.append(line, make("span", curve.name));
    return item;
  }));
  get("chart-words").textContent = `The ${curves.length} classes that score highest anywhere, in ${windows.length} ` +
    `${windows.length === 1 ? "window" : "windows"}. Click, or use the arrow keys, to go to a time.`;
  get("more-name").textContent = "Every window in numbers";
  table(["From", "To", "Best class", "Score"], windows.map(({ start, end, best }) =>
    [clock(start), clock(end), best[0].name, best[0].score.toFixed(3)]), [3]);
  chart.show(scores);
  shownPlace = -1;
  moveTo(0);
}

function showFound({ found, num_found: count }) {
  const ofFilm = what !== "image", several = count === 1 ? "" : "s";
  get("lists").append(make("h3", ofFilm ? "Who was found" : "What was found"), make("p", ofFilm ?
    `${count} time${several} a person at a whole second; actions above 0.3 stand in the boxes.` : `${count} object${several} above 0.3.`));
  get("more").hidden = !found.length;
  get("more-name").textContent = count > found.length ? `The first ${found.length} in numbers` : "All in numbers";
  const said = ({ labels }) => labels.map(({ name, score }) => `${name} ${score.toFixed(2)}`).join(", ") || "nothing above 0.3";
  table(ofFilm ? ["Second", "Actions"] : ["Object"], found.map((one) => (ofFilm ? [`${one.second}`, said(one)] : [said(one)])), []);
}

function make(name, text = "", properties = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  return Object.assign(made, properties);
}

/** A heading and a table of scores. */
function bars(title, id, labels) {
  const list = make("table", "", { className: "bars", id });
  const head = make("h3", title, { id: `${id}-name` });
  list.setAttribute("aria-labelledby", head.id);
  list.append(make("tbody"));
  fill(list, labels);
  return [head, list];
}

function fill(list, labels) {
  list.tBodies[0].replaceChildren(...labels.map(({ name, score }) => {
    const row = make("tr"), cell = make("td"), bar = make("div", "", { className: "bar" });
    const track = make("span", "", { className: "track" }), part = make("span", "", { className: "fill" });
    part.style.setProperty("--share", score);
    track.append(part);
    bar.append(track, make("span", score.toFixed(3), { className: "value" }));
    cell.append(bar);
    row.append(make("th", name, { scope: "row" }), cell);
    return row;
  }));
}

function table(head, rows, numbers) {
  const made = get("more").querySelector("table"), line = make("tr");
  line.append(...head.map((text) => make("th", text, { scope: "col" })));
  made.tHead.replaceChildren(line);
  made.tBodies[0].replaceChildren(...rows.map((cells) => {
    const row = make("tr");
    row.append(...cells.map((text, place) => make("td", text, { className: numbers.includes(place) ? "number" : "" })));
    return row;
  }));
}

// The time that is looked at

/** Show what is at a time: the player goes there, too, where it can. */
function seek(time) {
  if (player.readyState > 0) player.currentTime = time;
  moveTo(time);
}

function moveTo(time) {
  const place = chart.at(time);
  if (place === shownPlace) return;
  shownPlace = place;
  const { start, end, best } = scores.windows[place];
  get("here-name").textContent = `Here, ${clock(start)} to ${clock(end)}`;
  fill(get("here"), best);
}

function keepUp() {
  if (scores?.windows.length) moveTo(player.currentTime);
}
for (const kind of ["timeupdate", "seeked"]) player.addEventListener(kind, keepUp);  // a few times a second
player.addEventListener("play", function each() {
  keepUp();
  if (!player.paused && !player.ended) requestAnimationFrame(each);
});
