"""Pages that load nothing from other hosts: Jupyter Book always brings sphinx_thebe and sphinx_comments, which do.

`thebe: false` does not help, and an extension cannot be unloaded, so its event handlers are unplugged.
"""

import re

UNWANTED = ("sphinx_thebe", "sphinx_comments")
FOREIGN = re.compile(r"://|sphinx-thebe\.")


def unplug(app):
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if getattr(listener.handler, "__module__", "") in UNWANTED:
                app.disconnect(listener.id)


def keep_own_files(app, pagename, templatename, context, doctree):
    """Leaves out the style sheet of an unplugged extension, and any file whose address is another site's."""
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file for file in context.get(kind, []) if not FOREIGN.search(str(getattr(file, "filename", file)))
        ]


def setup(app):
    unplug(app)
    app.connect("html-page-context", keep_own_files, priority=900)
