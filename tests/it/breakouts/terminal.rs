//! Class C: what a command could do to the terminal of its caller, or to who reads what
//! is written there.

use crate::harness::{Ran, Sbx, Who};
use crate::pty::{Leader, Pty};

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// A program that makes these ioctls on all three streams and prints each answer.
fn ioctls(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!(
        "$c = 'x'; for $n ({}) {{ for $fd (0 .. 2) {{ print 0 <= syscall(16, $fd, $n, $c) ? 'done ' : (0 + $!) . ' ' }} }} \
         print \"tried\n\"",
        numbers.join(", ")
    )
}

/// At a terminal, whatever the sandbox has of it, nothing of these ioctls is left there for the caller's shell to read.
fn push_nothing(numbers: &[u64]) {
    let program = ioctls(numbers);
    let refused = format!("{}tried\r\n", "1 ".repeat(3 * numbers.len()));
    for who in Who::all() {
        // The caller's terminal itself is inside: the kernel refuses, because the session is another, and so does
        // the filter. The sandbox's own: what is pushed there stays there.
        for terminal in ["tty \"no\"\n", "tty \"no\"\ninit #false\n", "", "init #false\n"] {
            for filter in ["", "seccomp \"strict\"", "seccomp \"none\""] {
                let spec = format!("{terminal}{filter}");
                let sbx = Sbx::new(who).spec(&spec).cmd(&["perl", "-e", &program]);
                let mut pty = Pty::start(&sbx, Leader::Itself);
                pty.expect("tried");
                assert_eq!(pty.waiting(), 0, "{who:?} {spec}");
                let (ran, screen) = pty.end();
                assert_eq!(ran.code(), 0, "{screen}");
                let bare = filter.contains("none");
                assert!(screen == refused || bare, "{who:?} {spec}: {screen}");
                assert!(
                    !screen.contains("done") || terminal.is_empty() || terminal == "init #false\n",
                    "{spec}: {screen}"
                );
            }
        }
    }
}

/// flatpak and bubblewrap; CVE-2016-7545 of the SELinux sandbox and CVE-2016-9016 of firejail are the same.
#[test]
fn cve_2017_5226_tiocsti_pushes_nothing() {
    push_nothing(&[TIOCSTI]);
}

/// The kernel takes the number from the lower half of the word; the filter of flatpak compared all of it.
#[test]
fn cve_2019_10063_nor_with_junk_in_the_upper_half_of_its_number() {
    push_nothing(&[TIOCSTI | 1 << 32, TIOCSTI | 1 << 63, TIOCSTI | 0xffff_ffff << 32]);
}

/// Pasting on a console: also refused where no console is, by the filter.
#[test]
fn cve_2023_28100_tioclinux_pastes_nothing() {
    push_nothing(&[TIOCLINUX, TIOCLINUX | 1 << 33]);
    let program = ioctls(&[TIOCLINUX]);
    for who in Who::all() {
        for (spec, answer) in
            [("", libc::EPERM), ("seccomp \"strict\"", libc::EPERM), ("seccomp \"none\"", libc::ENOTTY)]
        {
            let ran = Sbx::new(who).spec(spec).cmd(&["perl", "-e", &program]).run();
            assert_eq!(ran.ok(), format!("{answer} {answer} {answer} tried"), "{who:?} {spec}");
        }
    }
}

/// What steers a terminal, erases, or changes the order of what stands beside it.
const STEERING: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{7f}\u{202e}gpj.exe\u{2066}\u{200b}";

#[track_caller]
fn shows_itself(text: &str) {
    let steers = |c: &char| {
        c.is_control() && *c != '\n'
            || ('\u{200b}'..='\u{200f}').contains(c)
            || ('\u{2028}'..='\u{202e}').contains(c)
            || ('\u{2066}'..='\u{2069}').contains(c)
    };
    assert_eq!(text.chars().find(steers), None, "{text:?}");
}

#[test]
fn cve_2023_28101_names_cannot_steer_the_terminal() {
    for who in Who::all() {
        let name = STEERING.replace('\u{202e}', "\\u{202e}").replace('\u{2066}', "\\u{2066}");
        let name: String = name
            .chars()
            .map(|c| if c.is_control() { format!("\\u{{{:x}}}", u32::from(c)) } else { c.into() })
            .collect();
        let specs = [
            format!("hostname \"{STEERING}\"\n{STEERING} 1\nmounts {{ bind \"{STEERING}\" \"/x\"; }}\n"),
            format!("hostname \"{name}\"\n{name} 1\nmounts {{ bind \"{name}\" \"/x\"; }}\n"),
            format!("mounts {{ bind \"{name}\" \"/x\"; }}"),
            format!("stdin \"@/{name}\""),
            format!("rootfs \"@/{name}\""),
            format!("user \"{name}\""),
            format!("seccomp \"{name}\""),
        ];
        for spec in specs {
            let ran = Sbx::new(who).spec(&spec).cmd(&["true"]).run();
            assert_eq!(ran.code(), 125, "{spec:?} {ran:?}");
            shows_itself(&ran.stderr);
        }
        for (flags, words) in [
            (&["--hostname", STEERING][..], &["true"][..]),
            (&["--report", STEERING], &["true"]),
            (&["--bind", STEERING], &["true"]),
            (&["--env", STEERING], &["true"]),
            (&["--label", STEERING], &["true"]),
            (&[], &[STEERING]),
            (&[STEERING], &["true"]),
        ] {
            let ran = Sbx::new(who).flags(flags).cmd(words).run();
            shows_itself(&ran.stderr);
            assert_ne!(ran.code(), 0, "{flags:?} {words:?}");
        }
        let plan = Sbx::new(who).verb(&["plan"]).cmd(&["true", STEERING]).run();
        assert_eq!(plan.code(), 0, "{plan:?}");
        shows_itself(&plan.stdout);
    }
}

/// The report goes to standard error unless told otherwise: what the command printed is in it.
#[test]
fn cve_2023_28101_nor_can_what_is_in_a_report() {
    for who in Who::all() {
        let sbx = Sbx::new(who).flags(&["--capture", "--label", &format!("x={STEERING}")]).report(Some("stderr"));
        let ran: Ran = sbx.cmd(&["printf", "%s", STEERING]).run();
        assert_eq!(ran.code(), 0, "{ran:?}");
        shows_itself(&ran.stderr);
        let report: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(report["output"]["stdout"], STEERING, "the text is another");
        assert_eq!(report["spec"]["labels"]["x"], STEERING);
        let plan = Sbx::new(who).verb(&["plan", "--json"]).cmd(&["true", STEERING]).run();
        assert_eq!(plan.code(), 0, "{plan:?}");
        shows_itself(&plan.stdout);
        // What the command itself prints is its own, as it would be without sbx.
        assert_eq!(Sbx::new(who).cmd(&["printf", "%s", STEERING]).run().stdout, STEERING);
    }
}
