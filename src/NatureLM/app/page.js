// Gradio labels empty outputs without a role that takes a label, and has the button for further uploads
// within another one, which does nothing.
new MutationObserver(() => {
  for (const empty of document.querySelectorAll('div[aria-label="Empty value"]:not([role])')) {
    empty.setAttribute("role", "img");
  }
  for (const outer of document.querySelectorAll('button.icon-button:not([role]):has(button.upload-container)')) {
    outer.setAttribute("role", "group");
    outer.setAttribute("tabindex", "-1");
    outer.setAttribute("aria-label", outer.title = "Further uploads");
  }
}).observe(document, { childList: true, subtree: true });

// Moves the cursor of a player over its spectrogram; a click jumps, a drag chooses a part.
(() => {
  const playerOf = (node) => node.closest && node.closest(".player");
  const bounds = (player) => [parseFloat(player.dataset.start), parseFloat(player.dataset.end)];

  function showCursor(player, seconds) {
    const [start, end] = bounds(player);
    const cursor = player.querySelector(".player-cursor");
    cursor.hidden = false;
    cursor.style.left = (100 * (seconds - start)) / (end - start) + "%";
  }

  function follow(audio) {
    const player = playerOf(audio);
    if (!player || !player.isConnected) return;
    showCursor(player, audio.currentTime);
    if (!audio.paused) requestAnimationFrame(() => follow(audio));
  }
  for (const name of ["play", "seeked", "timeupdate"]) {
    // Media events do not bubble, but they can be caught on their way down.
    document.addEventListener(name, (event) => {
      if (event.target.tagName === "AUDIO" && playerOf(event.target)) follow(event.target);
    }, true);
  }

  const secondsAt = (player, event) => {
    const box = player.querySelector(".player-picture").getBoundingClientRect();
    const [start, end] = bounds(player);
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return start + share * (end - start);
  };
  function fill(id, seconds) {
    const input = field(id);
    if (!input) return;
    input.value = seconds.toFixed(2);
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }
  const field = (id) => document.querySelector(`#${id} input`);
  const valueOf = (id) => (field(id) ? parseFloat(field(id).value) : NaN);

  function showSelection(player, first, last) {
    const [start, end] = bounds(player);
    const box = player.querySelector(".player-selection");
    const [from, to] = [Math.max(first, start), Math.min(last, end)];
    box.hidden = to - from < 0.001 * (end - start);
    box.style.left = (100 * (from - start)) / (end - start) + "%";
    box.style.width = (100 * (to - from)) / (end - start) + "%";
  }

  let drag = null;
  // The fields are filled by hand, by a drag and by the server, which tells the page nothing of it.
  setInterval(() => {
    if (drag) return;
    const [from, to] = [valueOf("part-start") || 0, valueOf("part-end")];
    for (const player of document.querySelectorAll("figure.player")) {
      const [start, end] = bounds(player);
      const last = isNaN(to) ? end : to;
      const isWhole = from <= start && last >= end;
      showSelection(player, isWhole ? end : from, last);
    }
  }, 200);

  document.addEventListener("pointerdown", (event) => {
    const picture = event.target.closest && event.target.closest(".player-picture");
    if (!picture || drag) return;
    const player = playerOf(picture);
    drag = { player, from: secondsAt(player, event), pointer: event.pointerId };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const here = secondsAt(drag.player, event);
    showSelection(drag.player, Math.min(drag.from, here), Math.max(drag.from, here));
  });
  // A finger that scrolls the page chooses nothing.
  document.addEventListener("pointercancel", (event) => {
    if (drag && event.pointerId === drag.pointer) drag = null;
  });
  document.addEventListener("pointerup", (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const { player, from } = drag;
    drag = null;
    const here = secondsAt(player, event);
    const [start, end] = bounds(player);
    const chosen = Math.abs(here - from) >= 0.01 * (end - start);
    if (chosen) {
      fill("part-start", Math.min(from, here));
      fill("part-end", Math.max(from, here));
      showCursor(player, Math.min(from, here));
    }
    const audio = player.querySelector("audio");
    if (audio) audio.currentTime = chosen ? Math.min(from, here) : here;
  });
})();

window.hops = {
  // The hop goes with the window's length until it is given another value.
  lengths: {},
  follow(tab, first, length, hop) {
    if (length === null) return hop;
    const before = tab in this.lengths ? this.lengths[tab] : first;
    this.lengths[tab] = length;
    return hop === before ? length : hop;
  },
};

// Counts the visitor's conversations where the button is pressed: a number that the server sent, or that
// another handler wrote, would come too late for a question that is asked at once. Both get a handler's
// inputs, the state and a place for the number first.
window.conversations = {
  number: 0,
  asked: 0,
  question: "",
  box: () => document.querySelector("#question textarea"),
  write(text) {
    this.box().value = text;
    this.box().dispatchEvent(new Event("input", { bubbles: true }));
  },
  // Counts the questions too, so that Stop can say which are meant.
  retry: (state, _, ...others) => [state, window.conversations.number, ...others.slice(0, -1),
    (window.conversations.asked += 1)],
  // Empties the box at the press: later it would take away what was written meanwhile.
  ask(state, number, files, which, question, ...others) {
    if (files && files.length && question.trim()) {
      this.question = question;
      this.write("");
    }
    return this.retry(state, number, files, which, question, ...others);
  },
  stop: (state) => [state, window.conversations.asked],
  begin: (state, _, ...others) => [state, (window.conversations.number += 1), ...others],
  // A question that was not answered comes back, unless another was written meanwhile.
  giveBack(question) {
    if (!this.box().value) this.write(question);
  },
  failed() {
    this.giveBack(this.question);
  },
  ended(said) {
    const text = ({ content }) =>
      typeof content === "string" ? content : content.map((part) => part.text || "").join("");
    const [question, answer] = (said || []).slice(-2);
    if (answer && question.role === "user" && text(answer).startsWith("⚠")) this.giveBack(text(question));
  },
};
