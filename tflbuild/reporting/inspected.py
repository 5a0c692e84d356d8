def print_inspected(found, target, quiet):
    for f in found:
        print(f.file, f.error or (f.measured["problem"], f.verdict), f.exit_code)
