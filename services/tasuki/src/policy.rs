//! `tasuki policy check|adopt FILE` and `tasuki explain`: the visibility policy for the people who answer for it.
//!
//! A file is checked here, line by line, before anything is sent; the server checks it again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tasuki_contract::directory::v1::AdoptPolicyRequest;
use tasuki_contract::directory::v1::directory_service_client::DirectoryServiceClient;
use tasuki_contract::timeline::v1::timeline_service_client::TimelineServiceClient;
use tasuki_contract::timeline::v1::{ExplainAccessRequest, ExplainAccessResponse, ExplainedAccess, Level};
use tasuki_domain::codes::Lang;
use tasuki_domain::policy::Policy;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::demo::table::cell;
use crate::{Error, call, region, token, up};

/// How long a try-out token for one command holds, seconds.
const TOKEN_S: i64 = 600;

/// What to do with policies.
#[derive(Subcommand, Clone, Debug)]
pub enum PolicyCommand {
    /// Say for each wrong line of a policy file what is wrong and what is allowed, and what nobody reads by it.
    Check {
        /// The policy file.
        file: PathBuf,
    },
    /// Check a policy file and bring it into force for its municipality, as an event of the log.
    Adopt {
        /// The policy file.
        file: PathBuf,
        /// Which server, and as whom.
        #[command(flatten)]
        server: Server,
    },
}

/// Which server, and as whom.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// Address of the server; default: the running `up`.
    #[arg(long, env = "TASUKI_ADDRESS")]
    address: Option<String>,
    /// Bearer token; default: a try-out token.
    #[arg(long, env = "TASUKI_TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    state: up::StateArgs,
}

/// Whose access to which case.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// The case.
    #[arg(long)]
    case: uuid::Uuid,
    /// A post of the example region, such as `nursery.head`, or a post's id; left out: the caller's own.
    #[arg(long)]
    post: Option<String>,
    /// The purpose for which it would read.
    #[arg(long, default_value = "care_coordination")]
    purpose: String,
    /// The post that asks, such as `coordinator.desk`; makes a try-out token.
    #[arg(long = "as", conflicts_with = "token")]
    act_as: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// Runs `tasuki policy`.
pub async fn run(command: PolicyCommand) -> Result<(), Error> {
    match command {
        PolicyCommand::Check { file } => {
            let (_, policy) = checked(&file)?;
            let mut out = std::io::stdout();
            writeln!(
                out,
                "{}: {} {}: reads / 問題ありません",
                file.display(),
                policy.municipality,
                policy.version
            )?;
            for unnamed in policy.unnamed() {
                writeln!(
                    out,
                    "  not named, so nothing is read / 書かれていないので何も見えません: {unnamed}"
                )?;
            }
            Ok(())
        }
        PolicyCommand::Adopt { file, server } => {
            let (text, policy) = checked(&file)?;
            let token = match &server.token {
                Some(token) => token.clone(),
                None => token::for_operator(&server.state.issuer()?, TOKEN_S)?,
            };
            let mut client = DirectoryServiceClient::new(server.channel().await?);
            let request = authorised(AdoptPolicyRequest { context: None, text }, &token, "administration")?;
            let answer = client.adopt_policy(request).await.map_err(|s| call::explain(&s))?.into_inner();
            let told = format!("{} {} sha256 {}", policy.municipality, policy.version, answer.sha256);
            Ok(writeln!(std::io::stdout(), "adopted / 採用しました: {told}")?)
        }
    }
}

/// Runs `tasuki explain`.
pub async fn explain(args: ExplainArgs) -> Result<(), Error> {
    let token = match (&args.server.token, &args.act_as) {
        (Some(token), _) => token.clone(),
        (None, Some(post)) => args.server.state.token(post, None, TOKEN_S)?,
        (None, None) => return Err("give --token or --as POST".into()),
    };
    let post = args.post.as_deref().map_or_else(String::new, |post| match uuid::Uuid::try_parse(post) {
        Ok(id) => id.to_string(),
        Err(_) => region::post_id(post).to_string(),
    });
    let request =
        ExplainAccessRequest { case_id: args.case.to_string(), post_id: post, purpose: args.purpose.clone() };
    let mut client = TimelineServiceClient::new(args.server.channel().await?);
    let request = authorised(request, &token, "care_coordination")?;
    let answer = client.explain_access(request).await.map_err(|s| call::explain(&s))?.into_inner();
    Ok(write!(std::io::stdout(), "{}", table(&answer, &args.purpose))?)
}

/// The text and the policy of a file.
///
/// Errors: every wrong line as `FILE:LINE: what is wrong; allowed: …`.
fn checked(file: &Path) -> Result<(String, Policy), Error> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    match Policy::read(&text) {
        Ok(policy) => Ok((text, policy)),
        Err(issues) => {
            let lines: Vec<String> = issues.iter().map(|i| format!("{}:{i}", file.display())).collect();
            Err(format!("{} wrong\n{}", lines.len(), lines.join("\n")).into())
        }
    }
}

impl Server {
    async fn channel(&self) -> Result<Channel, Error> {
        let address = match &self.address {
            Some(address) => address.clone(),
            None => self.state.running()?.address,
        };
        let nothing = || format!("nothing answers at {address}; start ./dev up, or look at --address");
        Ok(Endpoint::from_shared(address.clone())?.connect().await.map_err(|_| nothing())?)
    }
}

fn authorised<M>(message: M, token: &str, purpose: &str) -> Result<Request<M>, Error> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {token}").parse()?);
    metadata.insert("x-purpose", purpose.parse()?);
    metadata.insert("x-request-id", uuid::Uuid::now_v7().to_string().parse()?);
    Ok(request)
}

/// The answer for people: what decides in both languages, classes first, keys behind.
fn table(answer: &ExplainAccessResponse, purpose: &str) -> String {
    let relations = match answer.relations.as_slice() {
        [] => "–".to_owned(),
        all => all.join(", "),
    };
    let mut text = format!(
        "関わり / relation: {relations}\n目的 / purpose: {purpose}\n決まり / policy: {}\n",
        answer.policy
    );
    for (title, rows) in [("分類 / class", &answer.classes), ("項目 / key", &answer.keys)] {
        text.push_str(&format!("\n{}{}なぜ / why\n", cell(title, 58), cell("見え方 / seen", 26)));
        for row in rows {
            text.push_str(&line(row));
        }
    }
    text
}

fn line(row: &ExplainedAccess) -> String {
    let level = match row.level() {
        Level::None => tasuki_privacy::Level::None,
        Level::Existence => tasuki_privacy::Level::Existence,
        Level::Own => tasuki_privacy::Level::Own,
        Level::Summary => tasuki_privacy::Level::Summary,
        Level::Full => tasuki_privacy::Level::Full,
    };
    let word = |lang| tasuki_privacy::level_word(level, lang);
    let grants = match row.grant_ids.as_slice() {
        [] => String::new(),
        ids => format!(" [{}]", ids.join(" ")),
    };
    format!(
        "{}{}{}\n{}{}{}{grants}\n",
        cell(&format!("{} {}", row.name, row.label_ja), 58),
        cell(word(Lang::Ja), 26),
        row.why_ja,
        cell(&format!("  {}", row.label_en), 58),
        cell(word(Lang::En), 26),
        row.why_en,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tasuki_domain::policy::DEFAULT;

    use super::*;

    #[test]
    fn a_wrong_file_is_told_with_its_name_and_line() {
        let file = std::env::temp_dir().join(format!("tasuki-policy-{}.toml", uuid::Uuid::now_v7()));
        std::fs::write(&file, DEFAULT.replace("\"VEND\"", "\"VENDOR\"")).unwrap();
        let told = checked(&file).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        let line = DEFAULT.lines().position(|line| line.contains("\"VEND\"")).unwrap() + 1;
        assert!(told.contains(&format!("{}:{line}: there is no group \"VENDOR\"", file.display())), "{told}");
        assert!(told.contains("allowed: FAM, CD"), "{told}");
    }

    #[test]
    fn an_explanation_is_a_table_in_both_languages() {
        let row = ExplainedAccess {
            name: "IDENTITY".into(),
            label_ja: "基本情報・連絡先".into(),
            label_en: "Identity and contacts".into(),
            level: Level::Summary as i32,
            why_ja: "関わり: lead".into(),
            why_en: "relation: lead".into(),
            grant_ids: vec!["01a1".into()],
            policy_line: 7,
        };
        let answer = ExplainAccessResponse { classes: vec![row], ..Default::default() };
        let text = table(&answer, "care_coordination");
        for part in ["基本情報・連絡先", "Identity and contacts", "要約", "summary", "関わり: lead", "[01a1]"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
