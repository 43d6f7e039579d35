//! What a browser shows that came back from an authorization server. Nothing on it comes from
//! anywhere else, and what others wrote is text.

/// A page of ours.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The HTTP status.
    pub(super) status: u16,
    is_good: bool,
    title: &'static str,
    lines: Vec<String>,
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0;min-height:100vh;display:grid;place-items:center;font:1rem/1.5 system-ui,sans-serif;\
background:light-dark(#f5f6f8,#16181d);color:light-dark(#1b1f24,#e8eaed)}\
main{box-sizing:border-box;width:min(34rem,100vw - 2rem);padding:2rem;border-radius:.75rem;\
background:light-dark(#fff,#20242b);border-top:.35rem solid var(--mark)}\
h1{margin:0 0 .75rem;font-size:1.4rem;line-height:1.25}\
p{margin:.5rem 0;overflow-wrap:anywhere}\
footer{margin-top:1.5rem;font-size:.85rem;opacity:.7}";

impl Page {
    /// The login is done.
    pub(super) fn done(provider: &str, account: Option<&str>) -> Self {
        let who = account.map_or_else(String::new, |account| format!(" as {account}"));
        Self {
            status: 200,
            is_good: true,
            title: "You are logged in",
            lines: vec![
                format!("lazaretto is logged in to {provider}{who}."),
                "You can close this window and go back to the terminal.".into(),
            ],
        }
    }

    /// A person said no, at the server.
    pub(super) fn refused(provider: &str) -> Self {
        Self {
            status: 200,
            is_good: false,
            title: "The login was not approved",
            lines: vec![
                format!("lazaretto is not logged in to {provider}, and nothing was changed."),
                "To try again, run the same command in the terminal.".into(),
            ],
        }
    }

    /// Something went wrong, and the terminal says what.
    pub(super) fn failed(provider: &str) -> Self {
        Self {
            status: 200,
            is_good: false,
            title: "The login failed",
            lines: vec![
                format!("lazaretto is not logged in to {provider}."),
                "The terminal says why, and what to do.".into(),
            ],
        }
    }

    /// This is something else than the answer that is waited for.
    pub(super) fn stray() -> Self {
        Self {
            status: 400,
            is_good: false,
            title: "This is not the answer to a login",
            lines: vec![
                "lazaretto waits here for another address, and goes on waiting.".into(),
                "Go back to the page of the login, or run the command again.".into(),
            ],
        }
    }

    pub(super) fn html(&self) -> String {
        let mark = if self.is_good { "#1a7f37" } else { "#b42318" };
        let lines: String = self.lines.iter().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} - lazaretto</title>\n\
             <style>{STYLE}</style>\n<main style=\"--mark:{mark}\">\n<h1>{title}</h1>\n{lines}<footer>lazaretto</footer>\n</main>\n</html>\n",
            title = self.title,
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_text_on_a_page_that_loads_nothing() {
        let html = Page::done("acme", Some("<script>\"a\"&b</script>")).html();
        assert!(
            html.contains("&lt;script&gt;&quot;a&quot;&amp;b&lt;/script&gt;") && !html.contains("<script"),
            "{html}"
        );
        for page in [Page::done("a", None), Page::refused("a"), Page::failed("a"), Page::stray()] {
            let html = page.html();
            assert!(!html.contains("http") && !html.contains("url(") && !html.contains("src="), "{html}");
            assert!(html.contains("lazaretto") && html.contains("width=device-width"));
        }
    }
}
