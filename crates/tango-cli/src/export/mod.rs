//! `tango export`: metrics of all links for Prometheus. `metrics` reads the links, and `server` answers requests.

mod metrics;
mod server;

use std::net::SocketAddr;

use crate::failure::Failure;
use crate::folder::LinkFolder;
use crate::standard;

const DETAILS: &str = "\
Examples:
  tango export                        http://127.0.0.1:9821/metrics
  tango export --listen '[::]:9821'   for other machines, too: see below
  tango export --once                 print the metrics, for scripts
  tango export --once > links.prom    for a textfile collector

Links are read when Prometheus asks. A link that cannot be read has the metric
tango_link_up with the value 0. Counts are those of the link: they go on when
its producer starts again, and begin at 0 when the link is made anew.

The names of links are readable to everyone who can connect. Requests are
neither encrypted nor authenticated, so keep to loopback, or put a proxy in
front.

export prints the address on which it listens. docs/operating.md lists the
metrics. docs/grafana/tango.json is a dashboard for them.

export reads counters. It reads no fragment and writes to no link.

Exit status:
  0      success (--once)
  1      failure: the address is taken, for example, or the folder unreadable
  2      invalid usage
  128+N  terminated by signal N";

/// Metrics of all links for Prometheus, over HTTP
#[derive(Debug, clap::Args)]
#[command(after_help = DETAILS)]
pub(crate) struct Arguments {
    /// Address to listen on; port 0 is any free one
    /// [default: 127.0.0.1:9821]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9821",
        hide_default_value = true,
        value_parser = address,
        verbatim_doc_comment
    )]
    listen: SocketAddr,
    /// Print the metrics to standard output instead
    #[arg(long, conflicts_with = "listen")]
    once: bool,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9821 or [::1]:9821".to_owned())
}

pub(crate) fn run(arguments: &Arguments, folder: &LinkFolder) -> Result<(), Failure> {
    standard::check_output().map_err(Failure::output)?;
    if arguments.once {
        return standard::print(&metrics::text(folder)?).map_err(Failure::output);
    }
    server::run(arguments.listen, folder)
}
