//! Mistakes, each with its exact place and words.

/// Lines put after the smallest file, from line 7 on.
pub(super) const ADDED: &[(&str, &str)] = &[
    (
        "heartbeat = 100",
        r#"f:7:13: `heartbeat`: the unit is missing; write for example "100ms" or "100s" (units are us, ms, s, m, h and d, a day being 24 h)"#,
    ),
    (
        "heartbeat = \"100\"",
        r#"f:7:13: `heartbeat`: "100": the unit is missing after 100 (units are us, ms, s, m, h and d, a day being 24 h)"#,
    ),
    (
        "heartbeat = '100us'",
        "f:7:13: `heartbeat`: expected a duration of at least 1ms, found '100us'",
    ),
    ("heartbeat = true", "f:7:13: `heartbeat`: expected a duration such as \"100ms\", found true"),
    (
        "timeout = '199ms'",
        "f:7:11: `timeout`: 199ms is less than twice the heartbeat of 100ms: a single lost message would be taken for a failed host; expected at least 200ms, usual are 350ms",
    ),
    ("heartbeet = '1s'", "f:7:1: unknown key `heartbeet` in [[group]]; did you mean `heartbeat`?"),
    ("quorum = 0", "f:7:10: `quorum`: expected a whole number from 1 to 4294967295, found 0"),
    ("quorum = -1", "f:7:10: `quorum`: expected a whole number from 1 to 4294967295, found -1"),
    ("quorum = 1.5", "f:7:10: `quorum`: expected a whole number from 1 to 4294967295, found 1.5"),
    ("role = 'boss'", "f:7:8: `role`: expected \"member\" or \"observer\", found 'boss'"),
    (
        "role = 'observer'\npreferred = ['10.0.0.9']",
        "f:8:14: an observer serves nothing and can prefer no address; remove `preferred`, or make it a member",
    ),
    (
        "failback = 'soon'",
        "f:7:12: `failback`: expected \"immediate\", \"never\" or a hold-down such as \"5m\", in quotes, found \"soon\": expected whole numbers, each with its unit (units are us, ms, s, m, h and d, a day being 24 h)",
    ),
    (
        "placement = 'best'",
        "f:7:13: `placement`: expected \"least-utilised\" or \"random\", found 'best'",
    ),
    (
        "preferred = '10.0.0.9'",
        "f:7:13: `preferred`: expected a list, each entry an IP address in quotes, without a prefix, or two with a hyphen between them, the lower one first, found '10.0.0.9'",
    ),
    (
        "preferred = ['10.0.0.9/24']",
        "f:7:14: `preferred`: expected an IP address in quotes, without a prefix, or two with a hyphen between them, the lower one first, found '10.0.0.9/24'",
    ),
    (
        "floating = ['224.0.0.1']",
        "f:7:13: `floating`: 224.0.0.1 is a multicast address; expected a unicast address that clients use",
    ),
    (
        "floating = ['127.0.0.2']",
        "f:7:13: `floating`: 127.0.0.2 is a loopback address; expected a unicast address that clients use",
    ),
    (
        "floating = ['255.255.255.255']",
        "f:7:13: `floating`: 255.255.255.255 is the broadcast address; expected a unicast address that clients use",
    ),
    (
        "floating = ['0.0.0.0']",
        "f:7:13: `floating`: 0.0.0.0 is the unspecified address; expected a unicast address that clients use",
    ),
    (
        "floating = ['::ffff:1.2.3.4']",
        "f:7:13: `floating`: ::ffff:1.2.3.4 is an IPv4-mapped address; expected a unicast address that clients use",
    ),
    (
        "floating = ['10.77.0.1']",
        "f:7:13: 10.77.0.1 is this host's control address; it cannot move between hosts",
    ),
    (
        "floating = ['10.0.0.9', '10.0.0.9']",
        "f:7:25: 10.0.0.9 is a service address already, in line 7",
    ),
    (
        "preferred = ['10.0.0.9']\nfloating = ['10.0.0.9']",
        "f:8:13: 10.0.0.9 is a service address already, in line 7",
    ),
    ("high_water = 800", "f:7:14: `high_water` needs `low_water` beside it"),
    ("low_water = 800", "f:7:13: `low_water` needs `high_water` beside it"),
    (
        "high_water = 500\nlow_water = 500",
        "f:7:14: `high_water`: 500 is not above `low_water`, 500",
    ),
    ("scale = 0", "f:7:9: `scale`: expected a whole number from 1 to 4294967295, found 0"),
    (
        "insecure = true",
        "f:7:12: `insecure = true` and `key_files` exclude each other; remove one of them",
    ),
    ("insecure = 'yes'", "f:7:12: `insecure`: expected true or false, found 'yes'"),
    (
        "address_mode = 'kernel'",
        "f:7:16: `address_mode`: expected \"interface\" or \"route\", found 'kernel'",
    ),
    ("prearm = true", "f:7:10: `prearm` needs `address_mode = \"route\"` beside it"),
    (
        "address_mode = 'interface'\nprearm = true",
        "f:8:10: `prearm` needs `address_mode = \"route\"` beside it",
    ),
    (
        "address_mode = 'route'\nprearm = true",
        "f:8:10: `prearm` puts every address of the group on this host, and its kernel would answer ARP for them on eth0, eth1; set net.ipv4.conf.all.arp_ignore=1",
    ),
    (
        "preferred = ['10.0.0.9-10.0.0.8']",
        "f:7:14: `preferred`: expected an IP address in quotes, without a prefix, or two with a hyphen between them, the lower one first, found '10.0.0.9-10.0.0.8'",
    ),
    (
        "preferred = ['223.255.255.254-224.0.0.9']",
        "f:7:14: `preferred`: 224.0.0.0 is a multicast address; expected a unicast address that clients use",
    ),
    (
        "preferred = ['10.0.0.1-10.0.0.9']\nfloating = ['10.0.0.5-10.0.0.20']",
        "f:8:13: 10.0.0.5 is a service address already, in line 7",
    ),
    (
        "[group.traps]\nversion = '2c'",
        "f:7:1: `destinations` is missing in [group.traps]; expected a list, each entry an IP address and a UDP port in quotes, such as \"192.0.2.7:162\"",
    ),
    (
        "[group.traps]\ndestinations = ['192.0.2.7:162']\nversion = '1'",
        "f:9:11: `version`: expected \"2c\" or \"3\", found '1'",
    ),
    (
        "[group.traps]\ndestinations = ['192.0.2.7:0']",
        "f:8:17: `destinations`: 192.0.2.7:0 has no usable port; expected 1 to 65535, usual is 162",
    ),
    (
        "[group.traps]\ndestinations = ['[::]:162']",
        "f:8:17: `destinations`: [::]:162 is not the address of a host",
    ),
    (
        "[group.traps]\ndestinations = ['192.0.2.7:162']\nuser = 'me'",
        "f:9:8: `user` goes with `version = \"3\"`; remove one of them",
    ),
    (
        "[group.traps]\ndestinations = ['192.0.2.7:162']\nversion = '3'\nauth_file = '/etc/rais/snmp.auth'\nprivacy_file = '/etc/rais/snmp.privacy'",
        "f:7:1: `user` is missing in [group.traps]; expected a name of 1 to 32 bytes in quotes",
    ),
    (
        "[group.traps]\ndestinations = ['192.0.2.7:162']\nversion = '3'\nuser = 'me'\nauth_file = '/etc/rais/open'\nprivacy_file = '/etc/rais/snmp.privacy'",
        "f:11:13: password file /etc/rais/open has mode 0640: others than its owner may use it; run `chmod 600 /etc/rais/open`",
    ),
    (
        "[group.traps]\ndestinations = ['192.0.2.7:162']\nversion = '3'\nuser = 'me'\nauth_file = '/etc/rais/snmp.auth'\nprivacy_file = '/etc/rais/short'",
        "f:12:16: password file /etc/rais/short: expected one line of 8 to 255 bytes",
    ),
    (
        "[[group.test]]\nname = 'a'\nkind = 'ping'",
        "f:9:8: `kind`: expected \"tcp\" or \"script\" or \"file\" or \"interface\" or \"http\" or \"dns\", found 'ping'",
    ),
    (
        "[[group.test]]\nname = 'a'",
        "f:7:1: `kind` is missing in [[group.test]]; expected \"tcp\", \"script\", \"file\", \"interface\", \"http\" or \"dns\"",
    ),
    (
        "[[group.test]]\nname = 'a'\nkind = 'tcp'",
        "f:7:1: `address` is missing in [[group.test]]; expected an IP address and a port in quotes, such as \"127.0.0.1:8080\"",
    ),
    (
        "[[group.test]]\nname = 'a'\nkind = 'script'\ncommand = 'run'",
        "f:10:11: `command`: program run: expected an absolute path",
    ),
    (
        "[[group.test]]\nname = 'a'\nkind = 'script'\ncommand = ['/x/run']",
        "f:10:11: `command`: program /x/run: not there",
    ),
    (
        "[[group.test]]\nname = 'a'\nkind = 'script'\ncommand = []",
        "f:10:11: `command`: expected the path of a program in quotes, or a list of it and its arguments, found []",
    ),
    (
        "[[group.test]]\nname = 'a'\nkind = 'tcp'\naddress = '1.2.3.4:5'\nrise = 0",
        "f:11:8: `rise`: expected a whole number from 1 to 4294967295, found 0",
    ),
    ("[group.test]\nname = 'a'", "f:7:1: expected [[group.test]], in double brackets"),
    (
        "[[group.load]]\nkind = 'disk'",
        "f:8:8: `kind`: expected \"traffic\" or \"cpu\" or \"pressure\" or \"script\", found 'disk'",
    ),
    (
        "[[group.load]]\ncapacity = 1",
        "f:7:1: `kind` is missing in [[group.load]]; expected \"traffic\", \"cpu\", \"pressure\" or \"script\"",
    ),
    (
        "[[group.load]]\nkind = 'cpu'\ncapacity = 0",
        "f:9:12: `capacity`: expected a whole number from 1 to 4294967295, found 0",
    ),
    (
        "[[group.load]]\nkind = 'cpu'\nunit = 'bytes'",
        "f:9:1: unknown key `unit` in [[group.load]]; known are kind, capacity",
    ),
    (
        "[[group.load]]\nkind = 'pressure'",
        "f:7:1: `resource` is missing in [[group.load]]; expected \"cpu\", \"memory\" or \"io\"",
    ),
    (
        "[[group.load]]\nkind = 'pressure'\nresource = 'disk'",
        "f:9:12: `resource`: expected \"cpu\" or \"memory\" or \"io\", found 'disk'",
    ),
    (
        "[[group.load]]\nkind = 'pressure'\nresource = 'io'",
        "f:9:12: `resource`: this kernel does not measure the pressure on it: /proc/pressure/io: unsupported; boot one that is built with CONFIG_PSI, with psi=1, or take another load object",
    ),
    (
        "[[group.load]]\nkind = 'script'",
        "f:7:1: `command` is missing in [[group.load]]; expected the path of a program in quotes, or a list of it and its arguments",
    ),
    (
        "[[group.load]]\nkind = 'script'\ncommand = '/x/load'",
        "f:9:11: `command`: program /x/load: not there",
    ),
    (
        "[[group.load]]\nkind = 'script'\ncommand = '/bin/load'\ninterval = 5",
        "f:10:12: `interval`: the unit is missing; write for example \"5ms\" or \"5s\" (units are us, ms, s, m, h and d, a day being 24 h)",
    ),
    (
        "[[group.load]]\nkind = 'script'\ncommand = '/bin/load'\ntimeout = '0s'",
        "f:10:11: `timeout`: expected a duration of at least 1ms, found '0s'",
    ),
    (
        "[[group.load]]\nkind = 'traffic'\nunit = 'packets'",
        "f:7:1: `capacity` is missing in [[group.load]]; expected what counts as full, a second, for this unit",
    ),
    (
        "[group.scripts]\nacquire = 'run'",
        "f:8:11: `acquire`: expected an absolute path in quotes, found 'run'",
    ),
    ("[group.scripts]\nrelease = '/x/run'", "f:8:11: `release`: program /x/run: not there"),
    (
        "[group.scripts]\naquire = '/bin/run'",
        "f:8:1: unknown key `aquire` in [group.scripts]; did you mean `acquire`?",
    ),
    (
        "[group.colours]\nred = 1",
        "f:7:8: unknown key `colours` in [[group]]; known are address, control_interfaces, service_interface, role, quorum, failback, placement, high_water, low_water, scale, spread, preferred, floating, name, address_mode, prearm, key_files, insecure, heartbeat, timeout, orphan_timeout, test, load, scripts, dns, traps",
    ),
    (
        "[agent]\nmetrics = '9477'",
        "f:8:11: `metrics`: expected an IP address and a TCP port in quotes, such as \"127.0.0.1:9477\", found '9477'",
    ),
    (
        "[agent]\nmetrics = '[::1]:0'",
        "f:8:11: `metrics`: [::1]:0 has no usable port; expected 1 to 65535",
    ),
    ("[agent]\nsocket_owner = 'nobody-here'", "f:8:16: `socket_owner`: there is no such User"),
    ("[agent]\nsocket_group = 'staff'", "f:8:16: `socket_group`: there is no such Group"),
    (
        "[agent]\nsocket_group = 990",
        "f:8:16: `socket_group`: expected a name, or a number, in quotes, found 990",
    ),
    (
        "[agent]\nsocket_mode = '0640'",
        "f:8:15: `socket_mode`: expected \"0600\" or \"0660\" or \"0666\", found '0640'",
    ),
    (
        "[agent]\nscript_capabilities = ['CAP_KILL', 'KILL']",
        "f:8:36: `script_capabilities`: there is no capability \"KILL\"; see capabilities(7)",
    ),
    (
        "[agent]\nscript_capabilities = 'none'",
        "f:8:23: `script_capabilities`: expected \"all\", or a list of capabilities such as [\"CAP_KILL\"], found 'none'",
    ),
    (
        "[agent]\nlog = 'loud'",
        "f:8:7: `log`: \"loud\" is no level; expected off, error, warn, info, debug or trace, alone or after `target=`",
    ),
    (
        "[agent]\ndata_plane = 'magic'",
        "f:8:14: `data_plane`: expected \"xdp\" or \"kernel\", found 'magic'",
    ),
    (
        "address_mode = 'route'\n[agent]\ndata_plane = 'kernel'",
        "f:7:16: `address_mode = \"route\"` needs `data_plane = \"xdp\"` in [agent]: without the XDP program nobody would answer for an address that is on no interface; expected \"interface\"",
    ),
    (
        "[[group.load]]\nkind = 'traffic'\nunit = 'bytes'\n[agent]\ndata_plane = 'kernel'",
        "f:8:8: `kind = \"traffic\"` needs `data_plane = \"xdp\"` in [agent]: nobody else counts the traffic of service addresses; expected \"cpu\", \"pressure\" or \"script\"",
    ),
    (
        "floating = ['192.0.2.1-192.0.3.1']\n[agent]\ndata_plane = 'kernel'",
        "f:7:13: more than 256 service addresses, which is what a host can hold with `data_plane = \"kernel\"`",
    ),
    ("[agent]\nhost_id = '239.0.0.1'", "f:8:11: `host_id`: 239.0.0.1 is not the address of a host"),
    (
        "[agent]\nrun_dir = 'run'",
        "f:8:11: `run_dir`: expected an absolute path in quotes, found 'run'",
    ),
    (
        "[agent]\nrun_dir = '/run/raisd-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789'",
        "f:8:11: `run_dir`: the path of rais.sock in it would be longer than 107 bytes, the limit for a socket; choose a shorter one",
    ),
    (
        "heartbeat = '500us'\ntimeout = '20ms'",
        "f:7:13: `heartbeat`: expected a duration of at least 1ms, found '500us'",
    ),
];

/// What is replaced in the smallest file, and by what.
pub(super) const REPLACED: &[(&str, &str, &str)] = &[
    ("name = \"web\"", "", "f:1:1: `name` is missing in [[group]]; expected a name in quotes"),
    (
        "name = \"web\"",
        "name = 'w b'",
        "f:2:8: `name`: expected 1 to 64 letters, digits, `-`, `_` or `.`, found \"w b\"",
    ),
    (
        "239.77.0.1:7077",
        "239.77.0.1",
        "f:3:11: `address`: expected a multicast address and a UDP port in quotes, such as \"239.77.0.1:7077\", found \"239.77.0.1\"",
    ),
    (
        "239.77.0.1:7077",
        "10.0.0.1:7077",
        "f:3:11: `address`: 10.0.0.1:7077 is not a multicast address (IPv4 224.0.0.0/4, IPv6 ff00::/8)",
    ),
    (
        "239.77.0.1:7077",
        "239.77.0.1:0",
        "f:3:11: `address`: 239.77.0.1:0 has no usable port; expected 1 to 65535",
    ),
    ("[\"eth0\"]", "[]", "f:4:22: `control_interfaces` names no interface; at least one is needed"),
    ("[\"eth0\"]", "[\"eth0\", \"eth0\"]", "f:4:31: control interface `eth0` is named twice"),
    (
        "[\"eth0\"]",
        "[\"eth9\"]",
        "f:4:23: `control_interfaces`: there is no interface `eth9`; there are: eth0, eth1",
    ),
    (
        "[\"eth0\"]",
        "[\"bare\"]",
        "f:4:23: `control_interfaces`: interface `bare` has no IPv4 address to send messages to 239.77.0.1 from; give it one",
    ),
    (
        "= \"eth0\"",
        "= \"eth9\"",
        "f:5:21: `service_interface`: there is no interface `eth9`; there are: eth0, eth1",
    ),
    ("= \"eth0\"", "= \"port0\"", "f:5:21: `service_interface`: belongs to br0"),
    (
        "= \"eth0\"",
        "= 0",
        "f:5:21: `service_interface`: expected the name of the interface that clients are on, in quotes, found 0",
    ),
    (
        "key_files = [\"/etc/rais/web.key\"]",
        "",
        "f:1:1: `key_files` is missing in [[group]]: messages would be open to forgery; make a key with `rais keygen` and name its file on every host, or say `insecure = true` to try things out",
    ),
    (
        "key_files = [\"/etc/rais/web.key\"]",
        "key_files = []",
        "f:6:13: `key_files` names no key file; at least one is needed",
    ),
    (
        "web.key",
        "none.key",
        "f:6:14: key file /etc/rais/none.key: entity not found; copy it from another host, or make one with `rais keygen`",
    ),
    (
        "web.key",
        "open.key",
        "f:6:14: key file /etc/rais/open.key has mode 0644: others than its owner may use it; run `chmod 600 /etc/rais/open.key`",
    ),
    (
        "web.key",
        "group.key",
        "f:6:14: key file /etc/rais/group.key has mode 0640: others than its owner may use it; run `chmod 600 /etc/rais/group.key`",
    ),
    (
        "web.key",
        "other.key",
        "f:6:14: key file /etc/rais/other.key belongs to user 1001, neither to root nor to the user this runs as; run `chown root /etc/rais/other.key`",
    ),
    (
        "web.key",
        "short.key",
        "f:6:14: key file /etc/rais/short.key: expected one line of 64 hexadecimal digits, as `rais keygen` prints",
    ),
    (
        "web.key",
        "twice.key",
        "f:6:14: key file /etc/rais/twice.key: expected one line of 64 hexadecimal digits, as `rais keygen` prints",
    ),
    (
        "control_interfaces = [\"eth0\"]",
        "",
        "f:1:1: `control_interfaces` is missing in [[group]]; expected a list of the interfaces over which hosts hear each other, such as [\"eth0\"]",
    ),
    (
        "[\"eth0\"]",
        "\"eth0\"",
        "f:4:22: `control_interfaces`: expected a list, each entry the name of an interface in quotes, found \"eth0\"",
    ),
    (
        "[\"/etc/rais/web.key\"]",
        "\"/etc/rais/web.key\"",
        "f:6:13: `key_files`: expected a list, each entry the path of a key file in quotes, found \"/etc/rais/web.key\"",
    ),
    (
        "[\"/etc/rais/web.key\"]",
        "[\"/etc/rais/web.key\", \"/etc/rais/web.key\"]",
        "f:6:35: key file /etc/rais/web.key is named twice",
    ),
];
