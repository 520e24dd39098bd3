//! `--watch-network`: a line for each verdict of the gateway, when it falls. A reader that does not read loses lines,
//! never the sandbox its network.

use std::fmt::Write;

use crate::gateway::{Verdict, Watcher, What};
use crate::sys::watch::{Entry, poll};
use crate::sys::{Fd, fd};
use crate::units::visible;

/// Returns who writes to standard error.
#[must_use]
pub fn watcher() -> Watcher {
    Box::new(|what| {
        let mut entry = [Entry::writable(Fd(2))];
        // A pipe that is ready takes so much at once (PIPE_BUF of pipe(7)).
        if poll(&mut entry, Some(0)).is_ok() && entry[0].seen & libc::POLLOUT != 0 {
            fd::write(Fd(2), line(what).as_bytes()).ok();
        }
    })
}

/// Returns `sbx: network: refused tcp crates.example:443 (10.0.0.1): no rule allows it` and a newline.
fn line(what: &What) -> String {
    let mut line = format!("sbx: network: {} {} {}", what.verdict.as_str(), what.protocol.as_str(), visible(&what.to));
    // Writing to a String cannot fail.
    if let Some(port) = what.port {
        write!(line, ":{port}").ok();
    }
    if let Some(address) = what.address.map(|it| it.to_string()).filter(|it| *it != what.to) {
        write!(line, " ({address})").ok();
    }
    match what.verdict {
        Verdict::Refused(why) => write!(line, ": {}", why.as_str()).ok(),
        Verdict::Unreachable(errno) => write!(line, ": {}", nix::errno::Errno::from_raw(errno).desc()).ok(),
        Verdict::Allowed | Verdict::Published => None,
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::gateway::{Protocol, Refusal, Verdict, What};

    #[test]
    fn a_line_says_what_and_why() {
        let what = What {
            to: "crates.example".to_owned(),
            address: Some("10.0.0.1".parse().unwrap()),
            port: Some(443),
            protocol: Protocol::Tcp,
            verdict: Verdict::Refused(Refusal::NotAllowed),
        };
        assert_eq!(line(&what), "sbx: network: refused tcp crates.example:443 (10.0.0.1): no rule allows it\n");
        let to = "10.0.0.1".to_owned();
        let address = What { to, verdict: Verdict::Unreachable(libc::ECONNREFUSED), ..what };
        assert_eq!(line(&address), "sbx: network: unreachable tcp 10.0.0.1:443: Connection refused\n");
    }
}
