//! Whether the kernel would answer ARP in our stead.
//!
//! Linux takes an address for the host's, not the interface's: unless told otherwise it answers ARP
//! for it wherever the question comes in, for a local route as for an address of an interface. The
//! XDP program is on the service interface only.

use std::fs;
use std::path::Path;

/// Interfaces other than these on which the kernel answers ARP for the addresses of others: where
/// `arp_ignore`, the higher of the interface's own and that of `all`, is 0
/// (`Documentation/networking/ip-sysctl`). The loopback interface asks nobody.
pub(crate) fn answering(service_interfaces: &[&str]) -> Vec<String> {
    answering_below(Path::new("/proc/sys/net/ipv4/conf"), service_interfaces)
}

fn answering_below(conf: &Path, service_interfaces: &[&str]) -> Vec<String> {
    let ignores = |name: &str| {
        let text = fs::read_to_string(conf.join(name).join("arp_ignore"));
        text.is_ok_and(|text| text.trim() != "0")
    };
    // What cannot be read cannot be warned of.
    let Ok(entries) = fs::read_dir(conf) else { return Vec::new() };
    if ignores("all") {
        return Vec::new();
    }
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !["all", "default", "lo"].contains(&name.as_str()))
        .filter(|name| !service_interfaces.contains(&name.as_str()) && !ignores(name))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    // arp_ignore of each interface → those that are reported
    #[test]
    fn interfaces_that_answer_for_others() {
        let dir = std::env::temp_dir().join(format!("rais-conf-{}", std::process::id()));
        for (all, expected) in [("0\n", vec!["eth1"]), ("1\n", vec![])] {
            for (name, value) in
                [("all", all), ("default", "0\n"), ("lo", "0\n"), ("eth0", "0\n"), ("eth1", "0\n")]
                    .into_iter()
                    .chain([("eth2", "2\n")])
            {
                fs::create_dir_all(dir.join(name)).unwrap();
                fs::write(dir.join(name).join("arp_ignore"), value).unwrap();
            }
            assert_eq!(answering_below(&dir, &["eth0"]), expected, "all = {all}");
        }
        fs::remove_dir_all(&dir).unwrap();
        assert!(answering_below(&dir, &[]).is_empty());
    }
}
