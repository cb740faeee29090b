"""Names of fault models and protections: whoever adds one registers it. No JAX here.

An installed package may bring some: an entry point of the group `rerax.faults` or
`rerax.protections`, called like what is before the first colon of their names, gives a module that
registers them. It is imported once such a name is asked for.
"""

import re
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Generic, NamedTuple, TypeVar

from rerax.values import shown

Made = TypeVar("Made")
_NAME = re.compile(r"[a-z][a-z0-9_+-]*")


class Entry(NamedTuple):
    """What a name before its first colon stands for.

    Attributes:
        make: gives the object of a whole name.
        form: how such names look, for messages; "": they are hidden.
        takes_text: whether something stands behind the colon; None: `make` decides.
    """

    make: Callable[[str], Any]
    form: str
    takes_text: bool | None = None


class Registry(Generic[Made]):
    """Objects of one class by their names, whose part before the first colon is registered.

    Args:
        what: what they are called in messages, which is also the end of `rerax.register_..`.
        kind: their class, whose objects have a `text`: the name that makes them again.
    """

    def __init__(self, what: str, kind: type[Made]) -> None:
        self.what, self.kind = what, kind
        self.entries: dict[str, Entry] = {}
        self.own: frozenset[str] = frozenset()

    def reserve(self) -> None:
        """Keep the names that are registered so far: they are the package's."""
        self.own = frozenset(self.entries)

    def enter(self, first: str, make: Any, entry: Entry) -> None:
        """Register a name; one that is registered again is replaced.

        Args:
            first: the name, or the part before its first colon.
            make: what was given to make objects.
            entry: what the name stands for, by that.

        Raises:
            ValueError: no function, a name that rows and flags cannot hold, or one of the
                package's.
        """
        if not isinstance(first, str) or not _NAME.fullmatch(first):
            raise ValueError(
                f"{self.what} {shown(first)} is no name: give small letters, digits, - and _, "
                "without what may stand behind a colon"
            )
        if not callable(make):
            raise ValueError(f"make of {self.what} {first!r} is {shown(make)}: give a function")
        if first in self.own:
            raise ValueError(f"{self.what} {first!r} is the package's own: give another name")
        self.entries[first] = entry

    def forms(self) -> dict[str, str]:
        """List the forms of all names, by what is before the colon, in order."""
        return {first: entry.form for first, entry in sorted(self.entries.items())}

    def make(self, name: Any) -> Made:
        """Make the object of that name; one is given back.

        Raises:
            ValueError: an unknown name, or an object under the name of another.
        """
        if isinstance(name, self.kind):
            self._check_text(name)
            return name
        first, colon, text = name.partition(":") if isinstance(name, str) else ("", "", "")
        entry = self._find(first)
        if (
            entry is None
            or (entry.takes_text and not text)
            or (entry.takes_text is False and colon)
        ):
            of_others = (one.name for one in entry_points(group=self.group))
            forms = [form for form in self.forms().values() if form]
            known = ", ".join(dict.fromkeys([*forms, *of_others]))
            raise ValueError(f"unknown {self.what} {shown(name)}: use one of {known}")
        try:
            made = entry.make(name)
        except ValueError:  # what the make itself refuses
            raise
        except Exception as error:
            raise ValueError(
                f"{self.what} {name!r} cannot be made ({error}): let its make take the text behind "
                "its name"
            ) from error
        if not isinstance(made, self.kind):
            raise ValueError(
                f"{self.what} {name!r} is registered with something that makes {shown(made)}: let "
                f"it make a rerax.{self.kind.__name__}"
            )
        return made

    @property
    def group(self) -> str:
        """Group of the entry points by which installed packages bring such objects."""
        return f"rerax.{self.what}s"

    def _find(self, first: str) -> Entry | None:
        """Find what a name stands for, in installed packages too.

        Raises:
            ValueError: the package that brings it fails, or does not register it.
        """
        if first not in self.entries:
            for one in entry_points(group=self.group, name=first):
                try:
                    one.load()
                except Exception as error:
                    said = f"fails ({type(error).__name__}: {error})"
                    raise ValueError(self._brought(first, one.value, said)) from error
                if first not in self.entries:
                    raise ValueError(self._brought(first, one.value, "does not register it"))
        return self.entries.get(first)

    def _brought(self, first: str, module: str, said: str) -> str:
        return f"{module}, which brings {self.what} {first!r}, {said}: mend or uninstall it"

    def check_registered(self, given: Made) -> None:
        """Refuse for rows in a folder what could not be made again from its name.

        Raises:
            ValueError: it has no name, or one that is not registered.
        """
        self._check_text(given)  # it may have been made before another was registered
        first = given.text.partition(":")[0]  # type: ignore[attr-defined]
        if first not in self.entries:
            raise ValueError(
                f"{self.what} {shown(given)} is not registered: call "
                f"rerax.register_{self.what}({first!r}, ..), so that rows in a folder can be "
                "computed again"
            )

    def _check_text(self, given: Any) -> None:
        """Refuse an object under the name of another: rows would say what was not computed."""
        try:
            text = given.text
        except ValueError:  # it has none
            return
        entry = self.entries.get(str(text).partition(":")[0])
        if entry is not None and entry.make(text) != given:
            raise ValueError(
                f"{self.what} {shown(given)} calls itself {text!r}, which is another: give it a "
                "`text` of its own, and make it a frozen dataclass, so that equal ones are equal"
            )
