"""nbval runs the notebooks and compares outputs: all but pictures, which are not kept in them."""


def pytest_collection_modifyitems(items):
    for notebook in {item.parent for item in items}:
        notebook.skip_compare += ("image/svg+xml",)
