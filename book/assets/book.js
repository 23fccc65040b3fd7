// What the book's pages do by themselves. Without this file they are whole too: explanations then stand in a <details>.
"use strict";

// From a file, a page can't fetch the others to show a few words of each: the search then lists titles only.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A quiz says at once why the answer that was chosen is right or wrong.
const setUpQuiz = (quiz) => {
  quiz.classList.add("answerable");
  const verdict = quiz.querySelector(".quiz-verdict");
  const reasons = quiz.querySelectorAll(".quiz-reason");
  const buttons = quiz.querySelectorAll(".quiz-button");
  buttons.forEach((button, index) => {
    button.addEventListener("change", () => {
      const reason = reasons[index];
      const right = reason.classList.contains("right");
      buttons.forEach((other) => other.closest(".quiz-answer").classList.remove("right", "wrong"));
      button.closest(".quiz-answer").classList.add(right ? "right" : "wrong");
      const word = document.createElement("strong");
      word.textContent = right ? "Right. " : "Not right. ";
      const why = reason.querySelector(".quiz-why").cloneNode(true);
      verdict.replaceChildren(word, why);
      verdict.className = `quiz-verdict ${right ? "right" : "wrong"}`;
    });
  });
};

// What is folded on the screen shows on paper.
const foldForPaper = () => {
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("article details:not([open])")];
    opened.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
};

// What can be scrolled sideways can be reached by keyboard.
const focusWhatScrolls = () => {
  const boxes = "div.math, mjx-container[display], .shape-trace, .pst-scrollable-table-container, .cell_output";
  for (const box of document.querySelectorAll(`article :is(${boxes})`)) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.tabIndex = 0;
      box.dataset.scrolls = "";
    } else if (!scrolls && "scrolls" in box.dataset) {
      box.removeAttribute("tabindex");
      delete box.dataset.scrolls;
    }
  }
};

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("fieldset.quiz").forEach(setUpQuiz);
  foldForPaper();
});
window.addEventListener("load", () => {
  focusWhatScrolls();
  if (window.MathJax && window.MathJax.startup) {
    window.MathJax.startup.promise.then(focusWhatScrolls);
  }
});
window.addEventListener("resize", focusWhatScrolls);
