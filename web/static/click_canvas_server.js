// The server owns the objects. The script sends what the visitor does, in order and one message at a time,
// and draws what is still under way; so nothing is lost, and no late answer undoes a fast click.
let view = null;
let bench = null;
let shown = 0;
let waiting = [];
let underWay = [];
let wish = {};
let isDirty = false;
let isSending = false;
let isFollowing = false;
let cameFrom = null;
let told = null;
let isRefused = false;
const overlays = new Map();

function act(command) {
  waiting.push(command);
  told = null;
  draw();
  ask();
}

async function ask(more = {}) {
  wish = { ...wish, ...more };
  isDirty = true;
  if (isSending) return;
  isSending = true;
  element.setAttribute("aria-busy", String(waiting.length > 0));
  try {
    while (isDirty) {
      isDirty = false;
      await exchange();
    }
  } finally {
    isSending = false;
    element.setAttribute("aria-busy", "false");
  }
}

async function exchange() {
  const { token, clip } = view;
  const frame = shown;
  const changes = waiting.length > 0;
  underWay = waiting;
  waiting = [];
  const wanted = changes || !overlays.has(frame) ? [frame] : [];
  const message = { token, clip, frame, commands: underWay, overlays: wanted, ...wish };
  wish = {};
  let answer;
  try {
    answer = await server.ask(message);
  } catch {
    answer = undefined;
  }
  underWay = [];
  if (clip !== view.clip) return;
  receive(answer ?? { error: "The server did not answer. Click again, or reload the page." }, message);
}

function receive(answer, message) {
  const points = message.commands.some((command) => ["click", "box"].includes(command.do));
  if (points && !answer.error) document.querySelector("#sharper")?.setAttribute("data-has-mask", "");
  isRefused = Boolean(answer.error);
  told = answer.error ?? told;
  if (answer.objects) {
    if (message.commands.length) overlays.clear();
    for (const [frame, picture] of Object.entries(answer.overlays)) overlays.set(Number(frame), picture);
    bench = answer;
    if (message.seek) shown = answer.frame;
    isDirty ||= answer.frame !== shown || !overlays.has(shown);
  }
  render();
}

function render() {
  if (!view) return;
  showFrame();
  showObjects();
  showTimeline();
  showNotes();
  draw();
  element.dataset.frame = shown;
  element.dataset.answered = bench.prompt.clicks.length + (bench.prompt.box ? 1 : 0);
}

function showFrame() {
  if (base.dataset.frame !== `${view.clip}:${shown}`) {
    base.src = view.frames[shown];
    base.dataset.frame = `${view.clip}:${shown}`;
  }
  const picture = overlays.get(shown);
  if (picture) overlay.src = picture;
  else overlay.removeAttribute("src");
}

function showNotes() {
  note.classList.toggle("dm-problem", told ? isRefused : bench.isProblem);
  note.textContent = told ?? bench.note;
  const list = element.querySelector(".dm-notices");
  list.replaceChildren(...bench.notices.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const follow = element.querySelector(".dm-follow");
  const hadFocus = document.activeElement === follow;
  follow.disabled = !isFollowing && !bench.toFollow;
  if (hadFocus && follow.disabled) canvas.focus({ preventScroll: true });
  follow.classList.toggle("dm-running", isFollowing);
  follow.textContent = followLabel();
  for (const action of ["undo", "redo"]) {
    element.querySelector(`[data-action=${action}]`).disabled = action === "undo" ? !bench.canUndo : !bench.canRedo;
  }
  element.querySelector("[data-action=absent]").hidden = !bench.objects.some((object) => object.frames.length);
}

function followLabel() {
  if (isFollowing) return "Stop";
  if (bench.isFollowed) return "Followed through the clip ✓";
  const isPart = bench.cells.some((cell) => !["missing", "empty"].includes(cell.state)) &&
    bench.cells.filter((cell) => cell.state === "missing").length < view.frames.length - 1;
  if (!bench.toFollow || !isPart) return "Follow through the clip";
  return `Follow on ${bench.toFollow} ${bench.toFollow === 1 ? "frame" : "frames"}`;
}

function goTo(frame) {
  shown = Math.min(view.frames.length - 1, Math.max(0, frame));
  if (!isFollowing) told = null;
  render();
  ask();
}

const HANDLERS = {
  clip(message) {
    view = message;
    bench = message.bench;
    shown = 0;
    waiting = [];
    told = null;
    isFollowing = false;
    cameFrom = null;
    overlays.clear();
    stopPlaying();
    look(1, 0, 0);
    delete element.dataset.answered;
    stage.style.setProperty("--dm-aspect", view.width / view.height);
    stage.classList.add("dm-filled");
    buildTimeline();
    render();
    // An example comes with its object selected: one click less, and undo takes it back.
    if (view.hint && bench.objects.every((object) => !object.frames.length)) {
      act({ do: "click", frame: 0, x: view.hint[0], y: view.hint[1], is_positive: true });
    } else ask();
  },
  following(message) {
    cameFrom ??= shown;
    isFollowing = true;
    told = message.note;
    overlays.set(message.frame, message.overlay);
    bench.cells[message.frame] = { state: "known", words: "just followed" };
    // What is being pointed at must not change under the pointer.
    if (!drag) shown = message.frame;
    render();
  },
  settled(message) {
    if (isFollowing && !message.isFollowing) {
      told = message.note;
      if (!told && !drag) shown = cameFrom ?? shown;
      cameFrom = null;
    }
    isFollowing = message.isFollowing;
    overlays.clear();
    ask();
  },
};

function sync() {
  const message = props.value;
  if (!message?.kind) return;
  if (message.kind === "clip") {
    if (message.clip === view?.clip && message.token === view?.token) return;
  } else if (message.clip !== view?.clip) return;
  HANDLERS[message.kind](message);
}
