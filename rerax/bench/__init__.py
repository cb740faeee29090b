"""Where a chip's time goes on this machine, beside what the machine could do: `rerax bench`.

`cases` makes what is timed, `timing` times it, `machine` measures the machine's own limits,
`stages` takes a chip apart and `growth` doubles the work.
"""
