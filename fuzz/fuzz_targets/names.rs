//! Any bytes as a question of the sandbox, and as the answer of a resolver: what is written reads back, fits, and holds
//! no address of another kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sbx::domain::DomainName;
use sbx::gateway::dns::wire::{Sent, Travels, answer, read, read_answer};
use sbx::gateway::dns::{Asked, Code, Found};

fuzz_target!(|bytes: &[u8]| {
    let name = DomainName::new("a.example").expect("a name");
    let mut found = Found::nothing(Code::NoSuchName);
    for asked in [Asked::V4, Asked::V6] {
        // Whatever its number is.
        let id = bytes.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
        if let Sent::Found(told) = read_answer(bytes, id, &name, asked) {
            assert!(told.addresses.iter().all(|(address, _)| asked.is_about(*address)));
            assert!(told.aliases.len() <= 17);
            found = told;
        }
    }
    match read(bytes) {
        Ok(query) => {
            let small = answer(&query, &found, Travels::Datagram);
            assert!(!small.is_empty() && small.len() <= 1232);
            assert_eq!(small[..2], bytes[..2]);
            assert!(small[2] & 0x80 != 0, "an answer");
            assert!(matches!(read(&small), Err(None)), "which is not answered in turn");
        }
        Err(Some(refusal)) => assert_eq!(refusal[..2], bytes[..2]),
        Err(None) => {}
    }
});
