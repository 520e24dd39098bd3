//! The first message of TLS: the host that it names. It speaks no TLS; the reader is rustls' own.

use rustls::server::Acceptor;

use crate::domain::DomainName;
use crate::gateway::told::{LONGEST, Opening, Told};

/// The type of a handshake record, and that of a hello within (RFC 8446, 5.1 and 4).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Reads the hello at the start of a stream.
pub(crate) fn hello(bytes: &[u8]) -> Opening {
    match whole(bytes) {
        Whole::NotYet => Opening::Undecided,
        Whole::Never => Opening::Told(Told::Unreadable),
        Whole::Records(records) => Opening::Told(told(records)),
    }
}

enum Whole<'a> {
    NotYet,
    Never,
    /// The records that hold the hello.
    Records(&'a [u8]),
}

/// Waits for the last record of the hello, so that who sends it byte by byte has it read only once.
fn whole(bytes: &[u8]) -> Whole<'_> {
    let mut at = 0;
    let mut message = Vec::new();
    loop {
        let Some(header) = bytes.get(at..at + 5) else { return Whole::NotYet };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != HANDSHAKE || header[1] != 3 || length == 0 || length > 1 << 14 {
            return Whole::Never;
        }
        let Some(body) = bytes.get(at + 5..at + 5 + length) else { return Whole::NotYet };
        at += 5 + length;
        message.extend_from_slice(body);
        match message[..] {
            [CLIENT_HELLO, a, b, c, ref rest @ ..] => {
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if length > LONGEST {
                    return Whole::Never;
                }
                if rest.len() >= length {
                    return Whole::Records(&bytes[..at]);
                }
            }
            [CLIENT_HELLO, ..] => {}
            _ => return Whole::Never,
        }
    }
}

fn told(mut records: &[u8]) -> Told {
    let mut acceptor = Acceptor::default();
    while !records.is_empty() {
        match acceptor.read_tls(&mut records) {
            Ok(read) if read > 0 => {}
            _ => return Told::Unreadable,
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                // An encrypted hello looks the same as one that only pretends to be, which browsers always send: the
                // name in the clear counts.
                return match accepted.client_hello().server_name().map(DomainName::new) {
                    Some(Ok(name)) => Told::Names(vec![name]),
                    Some(Err(_)) => Told::Unreadable,
                    None => Told::Nameless,
                };
            }
            Err(_) => return Told::Unreadable,
        }
    }
    Told::Unreadable
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

    use super::hello;
    use crate::domain::DomainName;
    use crate::gateway::told::{Opening, Told};

    /// Who connects here says nothing else.
    #[derive(Debug)]
    struct Careless;

    impl ServerCertVerifier for Careless {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    /// What rustls says first to `host`.
    fn said_to(host: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Careless))
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// The same message in records of `size` bytes.
    fn in_pieces(hello: &[u8], size: usize) -> Vec<u8> {
        hello[5..]
            .chunks(size)
            .flat_map(|piece| {
                let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
                [&[22, 3, 1], &length[..], piece].concat()
            })
            .collect()
    }

    fn named(text: &str) -> Opening {
        Opening::Told(Told::Names(vec![DomainName::new(text).unwrap()]))
    }

    #[test]
    fn the_name_of_a_hello_is_read_however_it_is_cut() {
        let bytes = said_to("Crates.Example");
        for bytes in [bytes.clone(), in_pieces(&bytes, 1), in_pieces(&bytes, 7), in_pieces(&bytes, 100)] {
            for end in 2..bytes.len() {
                assert_eq!(hello(&bytes[..end]), Opening::Undecided, "{end} of {}", bytes.len());
            }
            assert_eq!(hello(&bytes), named("crates.example"));
            let more = [&bytes[..], b"and what follows"].concat();
            assert_eq!(hello(&more), named("crates.example"));
        }
    }

    #[test]
    fn a_hello_to_an_address_names_nobody() {
        assert_eq!(hello(&said_to("10.0.0.1")), Opening::Told(Told::Nameless));
    }

    /// The hello with an encrypted one in it (RFC 9849), as browsers always send one.
    fn with_encrypted_hello(hello: &[u8]) -> Vec<u8> {
        let mut bytes = hello.to_vec();
        // Record, message, version, random; then the session, the ciphers and the compressions, each with its length.
        let mut at = 5 + 4 + 2 + 32;
        at += 1 + usize::from(bytes[at]);
        at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        at += 1 + usize::from(bytes[at]);
        // Outer, KDF, AEAD, the number of the key, the key and the hello.
        let outer = [&[0, 0, 1, 0, 1, 7, 0, 32][..], &[9; 32], &[0, 64], &[8; 64]].concat();
        let length = u8::try_from(outer.len()).unwrap();
        bytes.extend([&[0xfe, 0x0d, 0, length][..], &outer].concat());
        for (place, more) in [(at, length + 4), (3, length + 4), (7, length + 4)] {
            let sum = u16::from_be_bytes([bytes[place], bytes[place + 1]]) + u16::from(more);
            bytes[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn the_name_in_the_clear_counts_whatever_is_encrypted() {
        let bytes = with_encrypted_hello(&said_to("crates.example"));
        assert_eq!(hello(&bytes), named("crates.example"));
        for end in 2..bytes.len() {
            assert_eq!(hello(&bytes[..end]), Opening::Undecided, "{end} of {}", bytes.len());
        }
        let nobody = with_encrypted_hello(&said_to("10.0.0.1"));
        assert_eq!(hello(&nobody), Opening::Told(Told::Nameless));
    }

    #[test]
    fn a_broken_hello_is_unreadable() {
        let whole = said_to("crates.example");
        let at = whole.windows(14).position(|window| window == b"crates.example").unwrap();
        for (place, byte) in
            [(at + 6, 0), (at + 6, b'%'), (at + 6, b' '), (at + 6, 0xff), (5, 2), (3, 0xff), (at - 1, 0xff)]
        {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            assert_eq!(hello(&bytes), Opening::Told(Told::Unreadable), "byte {place} is {byte}");
        }
    }

    #[test]
    fn garbage_never_panics_and_is_never_a_name() {
        let whole = said_to("crates.example");
        arbtest::arbtest(|input| {
            let mut bytes = whole.clone();
            for _ in 0..input.int_in_range(1..=8)? {
                let at = input.choose_index(bytes.len())?;
                bytes[at] = input.arbitrary()?;
            }
            if let Opening::Told(Told::Names(names)) = hello(&bytes) {
                assert_eq!(names.len(), 1);
            }
            Ok(())
        })
        .budget_ms(500);
    }
}
