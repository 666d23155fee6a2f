//! What settings mean, in sentences: for `tango-bridge check`.

use std::fmt;

use rust_tango::Link;

use super::types::{Congestion, Network, Publish, Reading, Settings, Subscribe};

/// One line for each fact. Those about a part are indented.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.clone().unwrap_or_else(Link::folder_of_links);
        writeln!(f, "links in {}", folder.display())?;
        write!(f, "{}", self.network)?;
        match self.metrics {
            Some(address) => writeln!(f, "metrics at http://{address}/metrics")?,
            None => writeln!(f, "no metrics")?,
        }
        for publish in &self.publish {
            write!(f, "{publish}")?;
        }
        for subscribe in &self.subscribe {
            write!(f, "{subscribe}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(config) = &self.config {
            writeln!(f, "network as in {}", config.display())?;
        }
        for (verb, endpoints) in [("listens on", &self.listen), ("connects to", &self.connect)] {
            match (&endpoints[..], &self.config) {
                ([], Some(_)) => writeln!(f, "{verb} what that file says")?,
                ([], None) => writeln!(f, "{verb} nothing")?,
                (endpoints, _) => writeln!(f, "{verb} {}", endpoints.join(", "))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sends {}{} as {}", self.links.join(", "), but_not(&self.deny), self.key)?;
        let reading = match self.read {
            Reading::Evictable => "an evictable consumer: the producer waits for it for some time",
            Reading::Reliable => "a reliable consumer: the producer waits for it",
            Reading::Observer => "an observer: the producer does not wait",
        };
        writeln!(f, "  reads as {reading}")?;
        let full = match self.congestion {
            Congestion::Block => "the link is read later",
            Congestion::Drop => "fragments are dropped and counted",
        };
        writeln!(f, "  when {} bytes wait for the network, {full}", self.queue)?;
        match self.delay.is_zero() {
            true => writeln!(f, "  network messages of up to {} bytes, sent at once", self.batch)?,
            false => writeln!(
                f,
                "  network messages of up to {} bytes, sent after {:?} at most",
                self.batch, self.delay
            )?,
        }
        match self.history {
            0 => writeln!(f, "  sends nothing again"),
            u64::MAX => writeln!(f, "  sends again what the ring still has"),
            history => writeln!(f, "  sends up to {history} fragments again, if the ring still has them"),
        }
    }
}

impl fmt::Display for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed =
            if self.allow.is_empty() { String::new() } else { format!(", of {}", self.allow.join(", ")) };
        writeln!(f, "makes link {}{allowed}{} of {}", self.link, but_not(&self.deny), self.key)?;
        writeln!(
            f,
            "  a new link begins with the {} fragment",
            if self.from_oldest { "oldest" } else { "next" }
        )?;
        let as_there =
            |count: Option<usize>| count.map_or("as at the origin".to_owned(), |count| count.to_string());
        writeln!(
            f,
            "  slots of its ring: {}; for consumers: {}",
            as_there(self.depth),
            as_there(self.consumers)
        )?;
        if let Some(patience) = self.patience {
            writeln!(f, "  waits {patience:?} for an evictable consumer")?;
        }
        writeln!(f, "  keeps the name of a link for {:?} after its origin was removed", self.linger)?;
        let full = match self.congestion {
            Congestion::Block => "all links of the connection wait",
            Congestion::Drop => "fragments are dropped and counted",
        };
        writeln!(f, "  when {} bytes wait for its consumers, {full}", self.queue)?;
        writeln!(f, "  at most {} links, of {} bytes each", self.max_links, self.max_link_bytes)
    }
}

fn but_not(denied: &[String]) -> String {
    if denied.is_empty() { String::new() } else { format!(" (but not {})", denied.join(", ")) }
}
