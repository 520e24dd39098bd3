//! Tells the first datagram of QUIC from others. Which host it is for is encrypted, with keys that everybody could have;
//! it is not read.

/// The least that a client's first datagram has (RFC 9000, 14.1).
const LEAST: usize = 1200;

/// Returns whether a flow that begins with `datagram` is QUIC: a long header of any version (RFC 8999, 5.1), but none of
/// negotiation, which only servers send. The second bit of all others is set (RFC 9000, 17.2); where it is hidden (RFC
/// 9287) what looks the same is other media too, so there the version is one that somebody speaks: of RFC 9000, RFC
/// 9369, of drafts, of Google, or one that only exercises negotiation.
#[must_use]
pub fn is_quic(datagram: &[u8]) -> bool {
    let [first, a, b, c, d, ..] = datagram else { return false };
    let spoken = match [*a, *b, *c, *d] {
        [0, 0, 0, 1] | [0x6b, 0x33, 0x43, 0xcf] | [0xff, 0, 0, _] | [b'Q' | b'T', ..] => true,
        [a, b, c, d] => [a, b, c, d].iter().all(|byte| byte & 0x0f == 0x0a),
    };
    let version = u32::from_be_bytes([*a, *b, *c, *d]);
    let long = first & 0xc0 == 0xc0 && version != 0 || first & 0x80 != 0 && spoken;
    long && datagram.len() >= LEAST
}

#[cfg(test)]
mod tests {
    use super::is_quic;

    #[test]
    fn a_hello_of_quic_is_told_from_others() {
        let datagram = |head: &[u8], length: usize| {
            let mut bytes = head.to_vec();
            bytes.resize(length, 0);
            bytes
        };
        for head in [
            &[0xc3, 0, 0, 0, 1][..],
            &[0xd0, 0x6b, 0x33, 0x43, 0xcf],
            &[0xc0, 0xff, 0, 0, 29],
            &[0xc0, 0x1a, 0x2a, 0x3a, 0x4a],
            // Versions that nobody speaks yet, and one whose sender hides that it is QUIC (RFC 9287).
            &[0xc3, 0x12, 0x34, 0x56, 0x78],
            &[0xff, 0xfa, 0xce, 0xb0, 2],
            &[0x83, 0, 0, 0, 1],
        ] {
            assert!(is_quic(&datagram(head, 1200)), "{head:x?}");
            assert!(!is_quic(&datagram(head, 1199)), "{head:x?}");
        }
        // A DNS query, RTP, DTLS, the answer of a server that speaks none of the client's versions.
        for head in
            [&[0x12, 0x34, 1, 0, 0, 1][..], &[0x80, 0x60, 0x12, 0x34, 0], &[22, 0xfe, 0xff, 0, 0], &[0xc0, 0, 0, 0, 0]]
        {
            assert!(!is_quic(&datagram(head, 1400)), "{head:x?}");
        }
        assert!(!is_quic(&[]));
    }
}
