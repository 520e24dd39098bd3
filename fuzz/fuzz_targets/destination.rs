//! Any text as a destination of a rule: what is read is written so that it reads back as the same, and what is refused
//! has a hint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sbx::domain::DomainName;
use sbx::spec::{Bandwidth, Destination, HostPattern, Loss};

fuzz_target!(|text: &str| {
    match Destination::parse(text) {
        Ok(destination) => {
            let shown = destination.to_string();
            assert_eq!(Destination::parse(&shown), Ok(destination.clone()), "{shown:?}");
            match destination.host {
                HostPattern::Any => assert!(text.starts_with('*')),
                HostPattern::Block(block) => assert!(block.contains(block.network())),
                HostPattern::Name(name) | HostPattern::Below(name) => plain(&name),
            }
            assert!(!destination.ports.contains(0) || text.matches(':').count() != 1 || text.ends_with('*'));
        }
        Err(wrong) => assert!(!wrong.message.is_empty() && !wrong.hint.is_empty()),
    }
    if let Ok(name) = DomainName::new(text) {
        plain(&name);
        assert_eq!(DomainName::new(name.as_str()), Ok(name));
    }
    if let Ok(bandwidth) = Bandwidth::parse(text) {
        assert_eq!(Bandwidth::parse(&bandwidth.to_string()), Ok(bandwidth));
    }
    if let Ok(loss) = Loss::parse(text) {
        assert_eq!(Loss::parse(&loss.to_string()), Ok(loss));
    }
});

/// What every reader of names takes for one and the same.
fn plain(name: &DomainName) {
    let text = name.as_str();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    assert!(text.bytes().all(plain) && !text.contains("..") && !text.starts_with('.') && !text.ends_with('.'));
    assert!(text.len() <= 253 && text.split('.').all(|label| label.len() <= 63));
    assert!(text.parse::<std::net::IpAddr>().is_err());
}
