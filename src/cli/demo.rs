//! `paperround demo`: the whole main job on this machine.

use super::context::Context;
use super::exit::Code;
use crate::config::{LogConfig, LogFormat};
use crate::demo::{Demo, Ports};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Walk the main job over real HTTP and SMTP, say `ok` for each step, and end
    #[arg(long)]
    exit: bool,
    /// Of the service; 0 takes any free one [default: 8080, with --exit any free one]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Of the sample site and the inbox; 0 takes any free one [default: 8081, with --exit any free one]
    #[arg(long, value_name = "PORT")]
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
    let demo = Demo::start(ports).await?;
    let code = if args.exit {
        walk(&demo, context).await?
    } else {
        wait(&demo, context).await?
    };
    demo.stop().await?;
    Ok(code)
}

async fn walk(demo: &Demo, context: &Context) -> anyhow::Result<Code> {
    let mut unsaid = Ok(());
    let held = demo
        .walk(&mut |step, result| {
            let line = match result {
                Ok(()) => format!("ok    {step}\n"),
                Err(fault) => format!("FAIL  {step}: {fault}\n"),
            };
            let said = context.terminal.data(&line);
            if unsaid.is_ok() {
                unsaid = said;
            }
        })
        .await?;
    unsaid?;
    Ok(if held { Code::Done } else { Code::Failed })
}

async fn wait(demo: &Demo, context: &Context) -> anyhow::Result<Code> {
    let (site, service) = (demo.site.url(), &demo.service_url);
    context.terminal.data(&format!(
        "The demo is running. Open:\n\n  {site}/        the sample site: sign up, publish articles\n  \
         {site}/inbox   every mail that was sent\n  {service}/        the newsletter service\n\n\
         1. Sign up on the site with any address.\n2. Open the confirmation in the inbox, follow its link, press \
         the button.\n3. Publish an article on the site. The digest arrives a few seconds later.\n4. Leave by the \
         link at the end of the digest.\n\nCtrl-C ends the demo; nothing is kept.\n"
    ))?;
    tokio::signal::ctrl_c().await?;
    Ok(Code::Done)
}
