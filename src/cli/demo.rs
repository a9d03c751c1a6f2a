//! `paperround demo`: the whole main job on this machine.

use super::context::Context;
use super::exit::Code;
use super::serve::Stop;
use crate::config::{LogConfig, LogFormat};
use crate::demo::{Demo, Ports};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Walk the main job by itself, say how each step went, and end
    #[arg(long)]
    exit: bool,
    /// The service's port; 0 takes any free one [default: 8080, with --exit any]
    #[arg(long)]
    port: Option<u16>,
    /// The port of the sample site and the inbox; 0 takes any free one [default: 8081, with --exit any]
    #[arg(long)]
    site_port: Option<u16>,
}

pub(super) async fn run(args: &Args, context: &Context) -> anyhow::Result<Code> {
    telemetry::start(&LogConfig {
        level: "warn".to_owned(),
        format: LogFormat::Text,
    })?;
    let usual = |port| if args.exit { 0 } else { port };
    let ports = Ports {
        service: args.port.unwrap_or(usual(8080)),
        site: args.site_port.unwrap_or(usual(8081)),
    };
    let mut stop = Stop::listen()?;
    let demo = Demo::start(ports).await?;
    let mut code = Code::Done;
    if args.exit {
        let mut say = |step: &str, result: Result<(), &str>| {
            let line = match result {
                Ok(()) => format!("ok    {step}"),
                Err(why) => format!("FAIL  {step}: {why}"),
            };
            // a closed standard output does not change how the walk goes
            let _closed = context.terminal.data(&line);
        };
        if !demo.walk(&mut say).await? {
            code = Code::Failed;
        }
    } else {
        let site = demo.site.url();
        context.terminal.data(&format!(
            "The sample site with its sign-up form:  {site}/\n\
             The inbox, where every mail arrives:    {site}/inbox\n\
             The service:                            {}/\n\n\
             Sign up on the site with any address, open the inbox, confirm; then publish an article on the site.\n\
             Nothing leaves this machine and nothing is kept. Ctrl-C ends it.",
            demo.service_url
        ))?;
        stop.asked().await;
    }
    demo.stop().await?;
    Ok(code)
}
