//! An address is public only if the registries of IANA let it be reached from the whole Internet.
//!
//! What they list for a special purpose counts as not public, also the few entries that some
//! routers forward: nobody runs an authorization server there. An IPv4 address within an IPv6 one
//! is judged as the IPv4 address that the packets go to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The special-purpose blocks of IPv4: the first address, and how many bits of it count.
const SPECIAL_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared by the customers of a carrier (RFC 6598)
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, with the metadata services of clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, and broadcast
];

/// The block of IPv6 that public addresses are assigned from: loopback, link-local, unique-local
/// and multicast addresses lie outside.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The special-purpose blocks within it.
const SPECIAL_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// The blocks of IPv6 whose addresses stand for the IPv4 address in the 32 bits behind the prefix.
const AROUND_V4: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), // as the socket maps it
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96), // as a NAT64 gateway translates it (RFC 6052)
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // as a relay of 6to4 unpacks it (RFC 3056)
];

/// Returns whether an address is public.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match AROUND_V4.iter().find(|block| is_in_v6(address, **block)) {
            Some((_, bits)) => is_public_v4(following(address, *bits)),
            None => is_in_v6(address, GLOBAL_V6) && !SPECIAL_V6.iter().any(|block| is_in_v6(address, *block)),
        },
    }
}

/// Returns the 32 bits of an address that follow its first `bits`.
fn following(address: Ipv6Addr, bits: u32) -> Ipv4Addr {
    let octets = (address.to_bits() << bits).to_be_bytes();
    Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in = |(first, bits): &(Ipv4Addr, u32)| (address.to_bits() ^ first.to_bits()) >> (32 - bits) == 0;
    !SPECIAL_V4.iter().any(is_in)
}

fn is_in_v6(address: Ipv6Addr, (first, bits): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ first.to_bits()) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list is the same for every language.
    #[test]
    fn the_list_of_addresses_is_judged_as_it_says() {
        let list = include_str!("../../../tests/conformance/http/addresses.json");
        let list: serde_json::Value = serde_json::from_str(list).expect("JSON");
        for (member, expected) in [("public", true), ("not-public", false)] {
            let addresses = list[member].as_array().expect("a list");
            assert!(!addresses.is_empty());
            for address in addresses {
                let parsed = address.as_str().expect("a text").parse().expect("an address");
                assert_eq!(is_public(parsed), expected, "{address}");
            }
        }
    }

    #[test]
    fn a_block_ends_where_its_last_address_does() {
        let is = |address: &str| is_public(address.parse().expect("an address"));
        for (outside, first, last, beyond) in [
            ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
            ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
            ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
            ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
            ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
            ("2000:ffff::", "2001::", "2001:1ff:ffff::", "2001:200::"),
            ("2001:db7:ffff::", "2001:db8::", "2001:db8:ffff::", "2001:db9::"),
            ("3ffe:ffff::", "3fff::", "3fff:fff:ffff::", "3fff:1000::"),
        ] {
            assert!(is(outside) && !is(first) && !is(last) && is(beyond), "{first}");
        }
        for (around, expected) in [("64:ff9b::", true), ("::ffff:", true), ("::ffff:0:", false), ("64:ff9b:1::", false)]
        {
            assert_eq!(is(&format!("{around}8.8.8.8")), expected, "{around}");
            assert!(!is(&format!("{around}127.0.0.1")), "{around}");
        }
    }
}
