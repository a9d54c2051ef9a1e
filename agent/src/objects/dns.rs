//! Test object: a name server knows a name.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Rtype};
use domain::rdata::{A, Aaaa};

use super::{TestObject, Verdict};
use crate::config::checked;
use crate::exchange;

/// Passes when the server answers a question over UDP without an error and with at least one
/// record of the type asked for, or with the expected one among them. What is not the answer to
/// the question is passed over.
#[derive(Clone, Debug)]
pub struct Dns {
    asked: checked::Dns,
}

impl Dns {
    /// Tests this server.
    #[must_use]
    pub const fn new(asked: checked::Dns) -> Self {
        Self { asked }
    }

    async fn ask(&self) -> Verdict {
        let server = self.asked.server;
        let question = self.question()?;
        let is_answer = |answer: &Message<Vec<u8>>| answer.is_answer(&question);
        let answer = exchange::over_udp(server, &question, is_answer).await;
        let answer = answer.map_err(|e| format!("{server}: {e}"))?;
        self.judge(&answer)
    }

    fn question(&self) -> Result<Message<Vec<u8>>, String> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(exchange::message_id().map_err(|e| e.to_string())?);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder.push((&self.asked.name, self.asked.rtype)).map_err(|e| e.to_string())?;
        Ok(builder.into_message())
    }

    fn judge(&self, answer: &Message<Vec<u8>>) -> Verdict {
        let checked::Dns { name, rtype, expect, .. } = &self.asked;
        if answer.header().rcode() != Rcode::NOERROR {
            return Err(format!("{name} {rtype}: {}", answer.header().rcode()));
        }
        let found = records(answer, *rtype).map_err(|e| format!("malformed answer: {e}"))?;
        match expect {
            _ if found.count == 0 => Err(format!("{name} has no {rtype}")),
            Some(expect) if !found.addresses.contains(expect) => {
                Err(format!("{name} {rtype} is {:?}, not {expect}", found.addresses))
            }
            Some(expect) => Ok(format!("{name} is {expect}")),
            None => Ok(format!("{name} has {} {rtype}", found.count)),
        }
    }
}

impl TestObject for Dns {
    fn run(&self) -> Pin<Box<dyn Future<Output = Verdict> + Send + '_>> {
        Box::pin(self.ask())
    }
}

/// Records of the type asked for.
struct Found {
    count: usize,
    addresses: Vec<IpAddr>,
}

fn records(
    answer: &Message<Vec<u8>>,
    rtype: Rtype,
) -> Result<Found, domain::base::wire::ParseError> {
    let mut found = Found { count: 0, addresses: Vec::new() };
    for record in answer.answer()? {
        let record = record?;
        if record.rtype() != rtype {
            continue;
        }
        found.count += 1;
        if let Some(a) = record.to_record::<A>()? {
            found.addresses.push(a.data().addr().into());
        } else if let Some(aaaa) = record.to_record::<Aaaa>()? {
            found.addresses.push(aaaa.data().addr().into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use domain::base::{ToName, Ttl};
    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;

    use super::*;

    /// A name server that answers each question with these messages, as made from it.
    async fn server(
        answers: impl Fn(&Message<Vec<u8>>) -> Vec<Vec<u8>> + Send + 'static,
    ) -> (SocketAddr, JoinSet<()>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let question = Message::from_octets(buffer[..length].to_vec()).unwrap();
                assert!(question.header().rd() && !question.header().qr());
                for answer in answers(&question) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        (address, tasks)
    }

    /// An answer to this question with these addresses.
    fn answer(question: &Message<Vec<u8>>, rcode: Rcode, addresses: &[&str]) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec().start_answer(question, rcode).unwrap();
        let name = question.sole_question().unwrap().qname().to_vec();
        let ttl = Ttl::from_secs(60);
        for address in addresses {
            match address.parse().unwrap() {
                IpAddr::V4(v4) => builder.push((&name, ttl, A::new(v4))).unwrap(),
                IpAddr::V6(v6) => builder.push((&name, ttl, Aaaa::new(v6))).unwrap(),
            }
        }
        builder.finish()
    }

    fn dns(server: SocketAddr, rtype: Rtype, expect: Option<&str>) -> Dns {
        let name = "www.example.org".parse().unwrap();
        let expect = expect.map(|text| text.parse().unwrap());
        Dns::new(checked::Dns { server, name, rtype, expect })
    }

    /// What a test says of a server that answers so.
    async fn said(
        rcode: Rcode,
        addresses: &'static [&str],
        test: (Rtype, Option<&str>),
    ) -> Verdict {
        let (server, _tasks) =
            server(move |question| vec![answer(question, rcode, addresses)]).await;
        dns(server, test.0, test.1).run().await
    }

    #[tokio::test]
    async fn an_answer_needs_a_record_of_the_type() {
        let both: &[&str] = &["192.0.2.1", "192.0.2.2", "2001:db8::1"];
        let ok = |text: &str| Ok(text.to_owned());
        let no = |text: &str| Err(text.to_owned());
        let name = "www.example.org";
        let a = (Rtype::A, None);
        let result = said(Rcode::NOERROR, both, a).await;
        assert_eq!(result, ok(&format!("{name} has 2 A")));
        let result = said(Rcode::NOERROR, both, (Rtype::AAAA, None)).await;
        assert_eq!(result, ok(&format!("{name} has 1 AAAA")));
        let result = said(Rcode::NOERROR, &["2001:db8::1"], a).await;
        assert_eq!(result, no(&format!("{name} has no A")));
        assert_eq!(said(Rcode::NOERROR, &[], a).await, no(&format!("{name} has no A")));
        let result = said(Rcode::NXDOMAIN, &["192.0.2.1"], a).await;
        assert_eq!(result, no(&format!("{name} A: NXDOMAIN")));
        let result = said(Rcode::NOERROR, both, (Rtype::A, Some("192.0.2.2"))).await;
        assert_eq!(result, ok(&format!("{name} is 192.0.2.2")));
        let result = said(Rcode::NOERROR, &["192.0.2.1"], (Rtype::A, Some("192.0.2.2"))).await;
        assert_eq!(result, no(&format!("{name} A is [192.0.2.1], not 192.0.2.2")));
    }

    #[tokio::test]
    async fn what_is_not_the_answer_is_passed_over() {
        let (address, _tasks) = server(|question| {
            let good = answer(question, Rcode::NOERROR, &["192.0.2.1"]);
            let mut other_id = answer(question, Rcode::SERVFAIL, &[]);
            other_id[0] ^= 1;
            let mut other_question = answer(question, Rcode::SERVFAIL, &[]);
            other_question[13] ^= 1;
            let echo = question.as_slice().to_vec();
            vec![Vec::new(), vec![0; 5], other_id, other_question, echo, good]
        })
        .await;
        let result = dns(address, Rtype::A, None).run().await;
        assert_eq!(result, Ok("www.example.org has 1 A".to_owned()));
    }

    #[tokio::test]
    async fn an_answer_cut_short_is_malformed() {
        let (address, _tasks) = server(|question| {
            let mut answer = answer(question, Rcode::NOERROR, &["192.0.2.1"]);
            answer.truncate(answer.len() - 2);
            vec![answer]
        })
        .await;
        let result = dns(address, Rtype::A, None).run().await.unwrap_err();
        assert!(result.starts_with("malformed answer: "), "{result}");
    }

    #[tokio::test]
    async fn nobody_and_silence_fail() {
        let (address, tasks) = server(|_| Vec::new()).await;
        let test = dns(address, Rtype::A, None);
        assert!(tokio::time::timeout(Duration::from_millis(50), test.run()).await.is_err());
        drop(tasks);
        let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let result = dns(address, Rtype::A, None).run().await.unwrap_err();
        assert!(result.starts_with(&format!("{address}: Connection refused")), "{result}");
    }
}
