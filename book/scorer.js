// What a search finds first: a chapter's section of that name, then the glossary's entry, then pages that mention it.
// Sphinx reads this in the place of its own scores, which the other numbers are.
var Scorer = {
  score: ([docname, title, anchor, , score]) => {
    const chapter = /book\/\d\d_/.test(docname);
    if (title.includes(" > ")) { return score + (chapter ? 150 : 50); }
    return chapter && !anchor ? score + 5 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
