// How far one has read each chapter: kept in this browser alone, and shown beside the chapter's name.
"use strict";

(() => {
  const KEY = "vitcourse.read";
  const CHAPTER = /\/book\/(\d\d_\w+)\.html$/;
  // A browser may keep nothing, or not for files: then nothing is shown.
  const kept = () => {
    try {
      return JSON.parse(localStorage.getItem(KEY)) ?? {};
    } catch {
      return {};
    }
  };
  const keep = (read) => {
    try {
      localStorage.setItem(KEY, JSON.stringify(read));
    } catch {
      // it is only a mark
    }
  };
  const chapterOf = (address) => CHAPTER.exec(new URL(address, location.href).pathname)?.[1];

  /** A ring beside each link to a chapter, as full as the chapter is read. */
  const show = () => {
    const read = kept();
    for (const link of document.querySelectorAll(".bd-sidebar-primary nav a.reference, article table a.reference")) {
      const share = link.hash ? 0 : (read[chapterOf(link.href)] ?? 0); // an exercise's place is no chapter
      let mark = link.querySelector(".read-mark");
      if (!mark && share) {
        mark = document.createElement("span");
        mark.className = "read-mark";
        mark.setAttribute("role", "img");
        link.append(mark);
      }
      if (!mark) continue;
      mark.hidden = !share;
      mark.classList.toggle("whole", share >= 1);
      mark.style.setProperty("--read", share);
      mark.setAttribute("aria-label", share >= 1 ? "read" : `${Math.round(100 * share)}% read`);
    }
  };

  /** The share of the page's sections whose end has been on the screen. */
  const follow = (chapter) => {
    const sections = [...document.querySelectorAll("article > section > section")];
    if (sections.length === 0) return;
    const ends = sections.map((section) => section.lastElementChild);
    const watcher = new IntersectionObserver((entries) => {
      const seen = Math.max(
        0,
        ...entries.filter((entry) => entry.isIntersecting).map((entry) => ends.indexOf(entry.target) + 1),
      );
      const read = kept();
      const share = seen / ends.length;
      if (share <= (read[chapter] ?? 0)) return;
      keep({ ...read, [chapter]: share });
      show();
    });
    ends.forEach((end) => watcher.observe(end));
    const again = document.createElement("button");
    again.type = "button";
    again.className = "read-again";
    again.textContent = "Forget how far I have read this chapter";
    again.addEventListener("click", () => {
      const read = kept();
      delete read[chapter];
      keep(read);
      watcher.disconnect(); // the end is still on the screen
      show();
    });
    sections.at(-1).after(again);
  };

  document.addEventListener("DOMContentLoaded", () => {
    const chapter = chapterOf(location.href);
    show();
    if (chapter) follow(chapter);
  });
})();
