//! Any bytes as what a client says, and as what a server answers: what is decided stays decided whatever follows, the same
//! bytes go however they are cut, and no host of a request is overlooked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sbx::domain::DomainName;
use sbx::gateway::Refusal;
use sbx::gateway::http::answers::{Answers, Heard};
use sbx::gateway::http::follow::{Follower, Next};
use sbx::gateway::http::request::{Asked, Head};
use sbx::gateway::opening::{at_end, is_request, read};
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
        assert!(!is_line(bytes), "a server would take it for a request");
    }
    if let Opening::Told(Told::Names(names)) = &whole
        && bytes.first() != Some(&22)
    {
        assert!(is_request(bytes));
        hosts(bytes, names);
    }
    requests(bytes);
    if bytes.starts_with(b"HTTP/") {
        answers(bytes);
    }
});

/// Whether the most generous of servers takes the first line for that of a request: three words, of which the first is
/// a token with a letter and the last names HTTP/1 or older.
fn is_line(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    let mut lines = bytes[start..].split(|byte| *byte == b'\n');
    let (Some(line), Some(_)) = (lines.next(), lines.next()) else { return false };
    let words: Vec<_> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_method = |word: &[u8]| word.iter().all(token) && word.iter().any(u8::is_ascii_alphabetic);
    matches!(words[..], [method, _, version] if is_method(method)
        && version.get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"HTTP/1") || it.eq_ignore_ascii_case(b"HTTP/0")))
}

/// Reads the head as the simplest of servers would; returns its length and the fields that say how long the body is.
fn hosts(bytes: &[u8], names: &[DomainName]) -> (usize, Option<Vec<u8>>, Option<Vec<u8>>) {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
    let (mut at, mut length, mut coding) = (start, None, None);
    for (number, line) in bytes[start..].split_inclusive(|byte| *byte == b'\n').enumerate() {
        at += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let field = |name: &[u8]| {
            let (head, value) = line.split_at_checked(name.len())?;
            (number > 0 && head.eq_ignore_ascii_case(name)).then(|| value.trim_ascii().to_vec())
        };
        length = field(b"content-length:").or(length);
        coding = field(b"transfer-encoding:").or(coding);
        if let Some(value) = field(b"host:")
            && let Ok(name) = DomainName::from_bytes(value.split(|byte| *byte == b':').next().unwrap_or_default())
        {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
    }
    (at, length, coding)
}

/// Follows the requests of a connection, where each read sees what came up to the next cut: how many bytes go, how it ends,
/// and what was judged.
fn follow(bytes: &[u8], cuts: impl Iterator<Item = usize>) -> (u64, Option<Refusal>, Vec<Head>) {
    let (mut follower, mut gone, mut heads) = (Follower::default(), 0u64, Vec::new());
    for cut in cuts.chain([bytes.len()]) {
        while gone < cut as u64 {
            let rest = &bytes[gone as usize..cut];
            let mut judge = |head: &Head| {
                if head.told == Told::Unreadable {
                    return Err(Refusal::Unreadable);
                }
                heads.push(head.clone());
                Ok(())
            };
            match follower.read(rest, &mut judge) {
                Ok(Next::Go(count)) => gone += count,
                Ok(Next::More) => break,
                Ok(Next::Answer) if follower.awaits() => follower.answered(),
                Ok(Next::Answer) => panic!("it waits for nothing"),
                Err(refusal) => return (gone, Some(refusal), heads),
            }
        }
    }
    (gone, None, heads)
}

fn requests(bytes: &[u8]) {
    let whole = follow(bytes, std::iter::empty());
    let step = 1 + bytes.len() / 256;
    assert_eq!(follow(bytes, (0..bytes.len()).step_by(step)), whole, "in pieces of {step}");
    for part in 1..8 {
        let cut = bytes.len() * part / 8;
        assert_eq!(follow(bytes, [cut].into_iter()), whole, "cut at {cut}");
    }
    let (gone, _, heads) = whole;
    let mut rest = &bytes[..bytes.len().min(gone as usize)];
    for head in heads {
        let names = if let Told::Names(names) = &head.told { &names[..] } else { &[] };
        let (length, said, coding) = hosts(rest, names);
        rest = &rest[length.min(rest.len())..];
        // The last one may not be there as a whole.
        let Some(body) = body(rest, said, coding) else { return };
        rest = &rest[body..];
    }
    assert!(rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')), "{} is of no request", rest.escape_ascii());
}

/// Returns how long a body is to the simplest of servers; `None` if not all of it is there.
fn body(bytes: &[u8], length: Option<Vec<u8>>, coding: Option<Vec<u8>>) -> Option<usize> {
    if coding.is_none() {
        let digits = String::from_utf8(length.unwrap_or(b"0".to_vec())).unwrap();
        let length = usize::try_from(digits.parse::<u64>().unwrap()).unwrap();
        return (length <= bytes.len()).then_some(length);
    }
    let line = |at: usize| Some(at + bytes.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1);
    let mut at = 0;
    loop {
        let end = line(at)?;
        let digits = str::from_utf8(&bytes[at..end]).unwrap().split([';', '\r']).next().unwrap();
        let size = usize::try_from(u64::from_str_radix(digits, 16).unwrap()).unwrap();
        if size == 0 {
            at = end;
            break;
        }
        at = line(end.checked_add(size)?)?;
    }
    while !bytes.get(at..)?.starts_with(b"\r\n") {
        at = line(at)?;
    }
    Some(at + 2)
}

/// Whoever agrees does so however it is cut, and what comes before is the same.
fn answers(bytes: &[u8]) {
    let asked = [Asked::Something, Asked::Head, Asked::Tunnel, Asked::Upgrade];
    let hear = |cuts: &mut dyn Iterator<Item = usize>| {
        let (mut answers, mut gone) = (Answers::new(), 0u64);
        asked.iter().cycle().take(16).for_each(|asked| answers.ask(*asked));
        for cut in cuts.chain([bytes.len()]) {
            while gone < cut as u64 {
                match answers.read(&bytes[gone as usize..cut]) {
                    Heard::Go(count) => gone += count,
                    Heard::More => break,
                    heard => return Err(heard),
                }
            }
        }
        Ok(gone)
    };
    let whole = hear(&mut std::iter::empty());
    let step = 1 + bytes.len() / 256;
    assert_eq!(hear(&mut (0..bytes.len()).step_by(step)), whole, "in pieces of {step}");
}
