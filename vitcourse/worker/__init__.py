"""The worker: torch and one learner's chapters, and nothing else of the course.

It answers small requests over a socket (load these texts, look for a name, make, call, …) and each answer is one
observation: what came back, what was raised, what was changed. It knows no references, no expected values and no
verdict. The judge (`vitcourse.checking`) asks; it uses the same workshop, in its own process, for the references.

The files of this folder import nothing of `vitcourse` but one another: the process in which a learner's code runs is
started from this folder alone, and can't import the rest.
"""
