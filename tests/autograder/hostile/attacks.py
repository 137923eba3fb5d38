"""All attacks of the hostile class, by the name of the student who tries them."""

from hostile import on_machine, on_notebook, on_verdict
from hostile.kinds import Attack

ATTACKS: dict[str, Attack] = on_verdict.ATTACKS | on_notebook.ATTACKS | on_machine.ATTACKS
