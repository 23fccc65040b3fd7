// A table of shapes shows the steps within its steps at once; what lies deeper unfolds with a click.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const steps of document.querySelectorAll(".shape-trace > table > tbody > tr > td > details")) steps.open = true;
});
