//! The client's address behind proxies.
//!
//! Owns: reading `X-Forwarded-For`. Never does: believe it from a hop that is not configured. Talks to: nobody.
//! Start reading at: [`client_address`].

use std::net::IpAddr;

use axum::http::HeaderMap;

use protocol::Network;

/// The nearest address, seen from us, that is no trusted proxy. A header from an untrusted peer is ignored; in one from a
/// trusted peer only the part that trusted proxies wrote counts, so a client can add what it likes on the left.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(nearest) {
        return nearest;
    }
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
        if !is_trusted(nearest) {
            break;
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_what_trusted_hops_wrote_counts() {
        assert_eq!(seen("1.1.1.1", &["2.2.2.2"]), "1.1.1.1", "an untrusted peer is itself");
        assert_eq!(seen("10.0.0.1", &["2.2.2.2"]), "2.2.2.2");
        assert_eq!(
            seen("10.0.0.1", &["9.9.9.9, 2.2.2.2, 10.0.0.7"]),
            "2.2.2.2",
            "spoofed left part"
        );
        assert_eq!(seen("10.0.0.1", &["9.9.9.9", "2.2.2.2"]), "2.2.2.2", "last line is nearest");
        assert_eq!(seen("10.0.0.1", &["2.2.2.2, junk"]), "10.0.0.1", "junk ends the walk");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["2.2.2.2"]), "2.2.2.2");
    }
}
