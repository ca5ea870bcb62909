// Plays words and moves the playhead; lets bars of the mixer be dragged.
(() => {
  const sectionOf = (element) => element.closest(".mt");

  function play(section, start, end) {
    const audio = section.querySelector("audio");
    audio.currentTime = start;
    section.stopAt = end;
    section.starting = true;
    audio.play();
  }

  document.addEventListener("click", (event) => {
    const word = event.target.closest(".mt-word");
    const wave = event.target.closest(".mt-wave");
    if (word) {
      play(sectionOf(word), Number(word.dataset.start), Number(word.dataset.end));
    } else if (wave) {
      const box = wave.getBoundingClientRect();
      const section = sectionOf(wave);
      const share = (event.clientX - box.left) / box.width;
      play(section, share * Number(section.dataset.seconds), Infinity);
    }
  });

  function follow(section, audio) {
    const time = audio.currentTime;
    if (time >= section.stopAt) audio.pause();
    const head = section.querySelector(".mt-head");
    head.style.visibility = "visible";
    head.style.left = `${(100 * time) / Number(section.dataset.seconds)}%`;
    for (const word of section.querySelectorAll(".mt-word")) {
      const now = word.dataset.start <= time && time < word.dataset.end;
      word.classList.toggle("mt-now", now && !audio.paused);
    }
    if (!audio.paused) requestAnimationFrame(() => follow(section, audio));
  }

  // Media events don't bubble, but they can be captured.
  document.addEventListener("play", (event) => {
    const section = sectionOf(event.target);
    if (!section) return;
    // Started by its own button: play to the end.
    if (!section.starting) section.stopAt = Infinity;
    section.starting = false;
    for (const other of document.querySelectorAll(".mt audio")) {
      if (other !== event.target) other.pause();
    }
    follow(section, event.target);
  }, true);

  // Sideways: seconds; up and down: a quarter of a dB per pixel.
  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const bar = event.target.closest(".mt-bar");
    if (!bar) return;
    drag = { bar, x: event.clientX, y: event.clientY };
    bar.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const x = event.clientX - drag.x;
    const y = event.clientY - drag.y;
    drag.bar.style.transform = `translate(${x}px, ${Math.max(-8, Math.min(8, y / 4))}px)`;
  });
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { bar, x, y } = drag;
    drag = null;
    const track = bar.closest(".mt-track").getBoundingClientRect();
    const seconds = Number(sectionOf(bar).dataset.seconds);
    move(`onset_${bar.dataset.slot}`, ((event.clientX - x) / track.width) * seconds);
    move(`level_${bar.dataset.slot}`, (y - event.clientY) / 4);
  });
  document.addEventListener("pointercancel", () => {
    if (drag) drag.bar.style.transform = "";
    drag = null;
  });

  function move(id, by) {
    const input = document.querySelector(`#${id} input[type=number]`);
    const step = Number(input.step) || 1;
    const value = Math.round((Number(input.value) + by) / step) * step;
    const kept = Math.max(Number(input.min), Math.min(Number(input.max), value));
    if (kept === Number(input.value)) return;
    input.value = Number(kept.toFixed(2));
    for (const kind of ["input", "change", "blur"]) {
      input.dispatchEvent(new Event(kind, { bubbles: true }));
    }
  }
})();
