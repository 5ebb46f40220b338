//! The command line.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tasuki_telemetry::TelemetryConfig;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::{
    Error, bench, call, demo, erase, export, keys, maintain, policy, serve, token, up, verify, verify_feed,
};

/// Tasuki (襷): one shared timeline for children with medical care needs.
#[derive(Parser)]
#[command(name = "tasuki", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything in one process, with private servers and the try-out issuer. Ctrl-C stops it.
    Up(up::UpArgs),
    /// Play the example story on real servers and print four timelines side by side.
    Demo(demo::DemoArgs),
    /// Run roles against TASUKI_DATABASE_URL and TASUKI_NATS_URL.
    Serve(serve::ServeArgs),
    /// Call any method, JSON in and out.
    Call(CallArgs),
    /// Print a try-out token for a post of the running `up`.
    Token(TokenArgs),
    /// Rebuild the views from the log, while reads go on.
    Rebuild(maintain::DatabaseArgs),
    /// Walk the hash chain and the reads on record, and find the first bad row.
    Verify(verify::VerifyArgs),
    /// Keep the chain of a post's feed in a file, and find the first item that has changed since it was kept.
    VerifyFeed(verify_feed::VerifyFeedArgs),
    /// Print the signed head of the log, for an auditor to keep; `verify --since-head` proves that it is still there.
    AuditHead(maintain::DatabaseArgs),
    /// Check a municipality's visibility policy, or bring it into force.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Tell what a post sees of a case, class by class and key by key, and why.
    Explain(policy::ExplainArgs),
    /// Make, check, rotate and copy the keyring.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Destroy what opens a case that two operators have decided to erase.
    Erase(erase::EraseArgs),
    /// Write down everything that is kept about a child, for the officer who answers a request for disclosure.
    SubjectExport(export::ExportArgs),
    /// Print NATS credentials for one post's notices.
    NatsCreds(maintain::CredsArgs),
    /// Measure on real parts, each against a yardstick in the same run.
    Bench(bench::BenchArgs),
}

#[derive(Args)]
struct CallArgs {
    /// For example ReferralService/SubmitReferral.
    method: String,
    /// The request as JSON; `-` reads standard input.
    #[arg(short = 'd', long, default_value = "{}")]
    data: String,
    /// Address of the server; default: the running `up`.
    #[arg(long, env = "TASUKI_ADDRESS")]
    address: Option<String>,
    /// File with the authorities of an https:// server's certificate, PEM; default: the system's.
    #[arg(long, env = "TASUKI_CA")]
    ca: Option<std::path::PathBuf>,
    /// Bearer token; default: a try-out token for --as.
    #[arg(long, env = "TASUKI_TOKEN")]
    token: Option<String>,
    /// A post of the example region, such as `hospital.discharge`; makes a try-out token.
    #[arg(long = "as", conflicts_with = "token")]
    act_as: Option<String>,
    /// Purpose code.
    #[arg(long, default_value = "care_coordination")]
    purpose: String,
    /// Request id; a retry with the same id gets the same answer.
    #[arg(long, default_value = "")]
    request_id: String,
    /// The post to act for, where the token holds several.
    #[arg(long)]
    post: Option<String>,
    #[command(flatten)]
    state: up::StateArgs,
}

#[derive(Args)]
struct TokenArgs {
    /// A post of the example region, such as `hospital.discharge`, or a post's id.
    #[arg(long, required_unless_present = "operator")]
    post: Option<String>,
    /// The agency's id, where --post is an id that the region file does not name.
    #[arg(long)]
    agency: Option<uuid::Uuid>,
    /// A token of the operator instead.
    #[arg(long, conflicts_with = "post")]
    operator: bool,
    /// How long it holds, seconds.
    #[arg(long, default_value_t = 12 * 3600)]
    lifetime_s: i64,
    #[command(flatten)]
    state: up::StateArgs,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = runtime.block_on(async {
        let guard = tasuki_telemetry::init("tasuki", &telemetry_of(&cli.command))?;
        let result = run(cli.command).await;
        // What could not be flushed is lost telemetry, not lost work.
        let _ = guard.shutdown();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// As the environment says; a demonstration is for reading, so it logs only what went wrong unless told otherwise.
fn telemetry_of(command: &Command) -> TelemetryConfig {
    let mut config = TelemetryConfig::from_env();
    if matches!(command, Command::Demo(_)) && std::env::var_os("TASUKI_LOG").is_none() {
        config.log_filter = "warn".to_owned();
    }
    config
}

fn failed(error: &Error) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::FAILURE
}

async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Call(args) => run_call(args).await,
        Command::Token(args) => run_token(args),
        Command::Rebuild(args) => maintain::rebuild(args).await,
        Command::Verify(args) => verify::verify(args).await,
        Command::VerifyFeed(args) => verify_feed::run(args).await,
        Command::AuditHead(args) => verify::audit_head(args).await,
        Command::Policy(command) => policy::run(command).await,
        Command::Explain(args) => policy::explain(args).await,
        Command::Keys(command) => keys::run(command).await,
        Command::Erase(args) => erase::run(args).await,
        Command::SubjectExport(args) => export::run(args).await,
        Command::NatsCreds(args) => maintain::nats_creds(args).await,
        Command::Bench(args) => bench::run(args).await,
    }
}

async fn run_call(args: CallArgs) -> Result<(), Error> {
    let address = match args.address {
        Some(address) => address,
        None => args.state.running()?.address,
    };
    let token = match (args.token, args.act_as) {
        (Some(token), _) => token,
        (None, Some(post)) => args.state.token(&post, None, 3600)?,
        (None, None) => return Err("give --token or --as POST".into()),
    };
    let mut endpoint = tonic::transport::Endpoint::from_shared(address.clone())?;
    let host = endpoint.uri().host().unwrap_or_default();
    if endpoint.uri().scheme_str() == Some("https") {
        let mut tls = ClientTlsConfig::new();
        tls = match &args.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(std::fs::read(path)?)),
            None => tls.with_native_roots(),
        };
        endpoint = endpoint.tls_config(tls)?;
    } else if !tasuki_transport::stays_here(host) {
        return Err(
            format!("{address} would send the token as plain text: it is written https://HOST:PORT").into()
        );
    }
    let channel = endpoint.connect().await.map_err(|_| {
        format!("nothing answers at {address}, which is written https://HOST:PORT, or http:// on this machine; start ./dev up, or look at --address")
    })?;
    let call = call::Call {
        method: args.method,
        data: args.data,
        token,
        purpose: args.purpose,
        request_id: args.request_id,
        post: args.post,
    };
    call::call(channel, call, &mut std::io::stdout()).await
}

fn run_token(args: TokenArgs) -> Result<(), Error> {
    use std::io::Write as _;
    let text = match args.post {
        Some(post) => args.state.token(&post, args.agency, args.lifetime_s)?,
        None => token::for_operator(&args.state.issuer()?, args.lifetime_s)?,
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
