//! ARP requests and replies on bounded bytes (RFC 826, RFC 5227).
