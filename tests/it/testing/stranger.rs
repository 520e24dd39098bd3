//! As somebody who has just heard of it: a small program in C, a spec with three tests, one of which fails; the program
//! is mended, and a CI reads what came of it.

use std::process::Command;

use super::{run, said, tests};
use crate::harness::{Sbx, Who, skip};

const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
int main(int count, char **words) {
    char line[80];
    long number = 0;
    FILE *file = count > 1 ? fopen(words[1], "r") : stdin;
    if (!file) { fprintf(stderr, "count: cannot open %s\n", words[1]); return 2; }
    while (fgets(line, sizeof line, file)) number++;
    printf("%ld lines\n", number);
    return MISTAKE;
}
"#;

const SPEC: &str = r#"// count.sbx.kdl: what `count` promises
mounts {
    bind "." "/src"
}
command "/src/count"

test "counts the lines of its input" {
    stdin "one\ntwo\n"
    expect {
        stdout "2 lines\n"
        memory below="64M"
    }
}
test "says which file it cannot open" {
    command "/src/count" "/nonesuch"
    expect {
        exit 2
        stdout empty=#true
        stderr contains="cannot open /nonesuch"
    }
}
test "takes an empty file" {
    command "/src/count" "/dev/null"
    expect { stdout "0 lines\n"; }
}
"#;

fn compile(sbx: &Sbx, mistake: &str) -> bool {
    std::fs::write(sbx.path("t/count.c"), PROGRAM.replace("MISTAKE", mistake)).unwrap();
    let made = Command::new("cc").arg("-o").arg(sbx.path("t/count")).arg(sbx.path("t/count.c")).status();
    made.is_ok_and(|status| status.success())
}

#[test]
fn a_program_is_tested_mended_and_told_of() {
    for who in Who::all() {
        // What counts memory is root's here.
        let spec = if who == Who::Root { SPEC.to_owned() } else { SPEC.replace("memory below=\"64M\"", "") };
        let sbx = tests(who, &[("count.sbx.kdl", &spec)]).flags(&["t", "--junit", "results.xml"]);
        if !compile(&sbx, "number == 0") {
            return skip("no C compiler");
        }
        let ran = run(&sbx);
        assert_eq!((ran.code(), said(&ran, "FAIL")), (1, vec!["takes an empty file"]), "{ran:?}");
        assert!(ran.stderr.contains("t/count.sbx.kdl:22:1: exit code 1, expected 0"), "{ran:?}");
        assert!(ran.stderr.contains("3 tests run: 2 passed, 1 failed"), "{ran:?}");
        assert!(sbx.read("results.xml").contains("tests=\"3\"") && sbx.read("results.xml").contains("failures=\"1\""));

        assert!(compile(&sbx, "0"));
        let ran = run(&sbx);
        assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 3), "{ran:?}");
        let report = quick_junit::Report::deserialize_from_str(&sbx.read("results.xml")).unwrap();
        assert_eq!((report.tests, report.failures), (3, 0));
    }
}
