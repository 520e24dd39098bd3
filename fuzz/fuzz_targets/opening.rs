//! Any bytes as the beginning of a stream: what is decided stays decided whatever follows, and no host of a request is
//! overlooked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sbx::domain::DomainName;
use sbx::gateway::opening::{at_end, read};
use sbx::gateway::told::{LONGEST, Opening, Told};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    for part in 1..8 {
        let cut = bytes.len() * part / 8;
        match read(&bytes[..cut]) {
            Opening::Undecided => {}
            told => assert_eq!(told, whole, "decided after {cut} of {} bytes", bytes.len()),
        }
    }
    if whole == Opening::Undecided {
        assert!(bytes.len() < LONGEST);
        assert!(!matches!(at_end(bytes), Told::Names(_) | Told::Nameless));
    }
    if whole == Opening::Told(Told::Other) {
        assert!(!is_request(bytes), "a server would take it for a request");
    }
    if let Opening::Told(Told::Names(names)) = &whole
        && bytes.first() != Some(&22)
    {
        hosts(bytes, names);
    }
});

/// Whether the most generous of servers takes the first line for that of a request: three words, of which the first is
/// a token with a letter and the last names HTTP/1 or older.
fn is_request(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    let mut lines = bytes[start..].split(|byte| *byte == b'\n');
    let (Some(line), Some(_)) = (lines.next(), lines.next()) else { return false };
    let words: Vec<_> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_method = |word: &[u8]| word.iter().all(token) && word.iter().any(u8::is_ascii_alphabetic);
    matches!(words[..], [method, _, version] if is_method(method)
        && version.get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"HTTP/1") || it.eq_ignore_ascii_case(b"HTTP/0")))
}

/// Reads the head as the simplest of servers would.
fn hosts(bytes: &[u8], names: &[DomainName]) {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    for line in bytes[start..].split(|byte| *byte == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        let is_host = line.get(..5).is_some_and(|head| head.eq_ignore_ascii_case(b"host:"));
        let value = line.get(5..).unwrap_or_default().trim_ascii();
        let name = value.split(|byte| *byte == b':').next().unwrap_or_default();
        if let (true, Ok(name)) = (is_host, DomainName::from_bytes(name)) {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
    }
}
