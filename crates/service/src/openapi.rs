//! OpenAPI generated from the code, and the page that shows it.
//!
//! What this promises: generated clients and the page can tell operations apart, and a person can
//! use the page without reading the code. Each operation has an id of its own, a summary, a
//! description, and a tag that the document explains; each body has an example. [`lacking`] says
//! where that is not so, and every test that makes a service's routes fails then. What it leaves to
//! the routes: that the examples work.

use std::collections::HashSet;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

/// What a document says of its service as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// The service's name, as it stands in paths.
    pub name: &'a str,
    /// Its title.
    pub title: &'a str,
    /// What it is for, in Markdown.
    pub description: &'a str,
    /// The groups of its operations, in the order in which the page shows them, and what each is
    /// about.
    pub tags: &'a [(&'a str, &'a str)],
    /// Where its operations are.
    pub operations: Operations<'a>,
}

/// Where the operations of a document are.
#[derive(Clone, Copy, Debug)]
pub enum Operations<'a> {
    /// At the edge, which also serves the document.
    AtTheEdge,
    /// Inside the stack, at this address, so that the page offers to execute none of them.
    Inside(&'a str),
}

/// The beginning of a service's document whose routes may name the security scheme `session`: the
/// bearer token that `identity` gives.
#[must_use]
pub fn with_sessions<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    with_bearer(
        "session",
        "The `token` that `sign_in` (`POST /api/identity/sessions`) answers with.",
    )
}

/// The beginning of a service's document whose routes may name the security scheme `scheme`: a bearer
/// token.
#[must_use]
pub fn with_bearer<S>(scheme: &str, description: &str) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(description))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme(scheme, SecurityScheme::Http(token))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().components(Some(components)).build())
}

/// Splits a service's documented routes into a plain router that also serves
/// `/api/<name>/openapi.json`.
pub fn documented<S>(document: Document<'_>, routes: OpenApiRouter<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let (router, mut api) = routes.split_for_parts();
    document.title.clone_into(&mut api.info.title);
    api.info.description = Some(document.description.to_owned());
    env!("CARGO_PKG_VERSION").clone_into(&mut api.info.version);
    let license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE"));
    api.info.license = Some(license.build());
    // Else it is that of whoever wrote the generator.
    api.info.contact = None;
    let (url, whose) = match document.operations {
        Operations::AtTheEdge => ("/", "the edge, which also serves this document"),
        Operations::Inside(address) => (address, "inside the stack; the edge passes nothing on"),
    };
    let server = ServerBuilder::new().url(url).description(Some(whose));
    api.servers = Some(vec![server.build()]);
    let tags = document.tags.iter().map(|(name, about)| {
        let tag = TagBuilder::new().name(*name).description(Some(*about));
        tag.build()
    });
    api.tags = Some(tags.collect());
    // The answers that routes share name it, and do not bring it along.
    let components = api.components.get_or_insert_default();
    components
        .schemas
        .entry("Problem".to_owned())
        .or_insert_with(problem::Body::schema);
    debug_assert_eq!(
        serde_json::to_value(&api).map(|api| lacking(&api)).ok(),
        Some(Vec::new()),
        "the document of {} lacks something",
        document.name
    );
    router.merge(json(document.name, api))
}

/// What keeps generated clients and people from using the operations of a document.
#[must_use]
pub fn lacking(document: &Value) -> Vec<String> {
    let tags = document["tags"].as_array().into_iter().flatten();
    let tags: HashSet<_> = tags.filter_map(|tag| tag["name"].as_str()).collect();
    let mut ids = HashSet::new();
    let mut lacking = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let mut must = |holds: bool, what: &str| {
                if !holds {
                    lacking.push(format!("{method} {path}: {what}"));
                }
            };
            let id = operation["operationId"].as_str().unwrap_or_default();
            must(!id.is_empty() && ids.insert(id), "an id of its own");
            for text in ["summary", "description"] {
                let is_there = operation[text]
                    .as_str()
                    .is_some_and(|text| !text.is_empty());
                must(is_there, text);
            }
            // A page shows it as one line.
            let summary = operation["summary"].as_str().unwrap_or_default();
            must(!summary.contains('\n'), "a summary of one line");
            let named = operation["tags"].as_array().into_iter().flatten();
            let mut named = named.filter_map(Value::as_str).peekable();
            let is_tagged = named.peek().is_some() && named.all(|tag| tags.contains(tag));
            must(is_tagged, "a tag that the document explains");
            let bodies = operation["requestBody"]["content"].as_object();
            for content in bodies.into_iter().flat_map(|bodies| bodies.values()) {
                let has_example = content.get("example").or(content.get("examples"));
                must(has_example.is_some(), "an example of its body");
            }
        }
    }
    lacking
}

fn json<S>(name: &str, api: OpenApi) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let path = format!("/api/{name}/openapi.json");
    Router::new().route(&path, get(move || async { Json(api) }))
}

/// Swagger UI at `/api/docs/`: one page for the documents of all services, so one service serves
/// it. Which documents those are says the edge, in `deploy/nginx/site/swagger-initializer.js`.
pub fn page<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    SwaggerUi::new("/api/docs").into()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;

    const X: Document<'_> = Document {
        name: "x",
        title: "X",
        description: "",
        tags: &[("things", "What there is")],
        operations: Operations::AtTheEdge,
    };

    /// What the service of a document answers at this path.
    async fn answer(document: Document<'_>, path: &str) -> String {
        let router: Router = documented(document, OpenApiRouter::new());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_page_comes_with_the_files_that_it_needs() {
        let router: Router = page();
        for (file, kind) in [
            ("", "html"),
            ("swagger-ui.css", "css"),
            ("swagger-ui-bundle.js", "javascript"),
            ("swagger-ui-standalone-preset.js", "javascript"),
        ] {
            let request = Request::get(format!("/api/docs/{file}"))
                .body(Body::empty())
                .unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{file}");
            let is = answer.headers()["content-type"].to_str().unwrap();
            assert!(is.contains(kind), "{file} is {is}");
        }
    }

    #[tokio::test]
    async fn the_document_has_what_shared_answers_refer_to() {
        let document = answer(X, "/api/x/openapi.json").await;
        assert!(
            document.contains("\"schemas\":{\"Problem\":{"),
            "{document}"
        );
        assert!(!document.contains("\"contact\""), "{document}");
        assert!(
            document.contains("\"license\":{\"name\":\"MIT OR Apache-2.0\"}"),
            "{document}"
        );
    }

    #[tokio::test]
    async fn the_document_says_where_its_operations_are() {
        let of = async |operations: Operations<'static>| {
            let document = Document { operations, ..X };
            let text = answer(document, "/api/x/openapi.json").await;
            let document: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(document["tags"][0]["name"], "things");
            document["servers"][0]["url"].as_str().unwrap().to_owned()
        };
        assert_eq!(of(Operations::AtTheEdge).await, "/");
        assert_eq!(
            of(Operations::Inside("http://x:8080")).await,
            "http://x:8080"
        );
    }

    #[test]
    fn what_an_operation_lacks_is_named() {
        let good = json!({
            "operationId": "place_thing",
            "summary": "Place a thing",
            "description": "It stays where it is.",
            "tags": ["things"],
            "requestBody": {"content": {"application/json": {"example": {}}}},
        });
        let of = |one: &Value, other: &Value| {
            lacking(&json!({
                "tags": [{"name": "things"}],
                "paths": {"/x": {"post": one}, "/y": {"post": other}},
            }))
        };
        let with = |field: &str, value: Value| {
            let mut operation = good.clone();
            operation["operationId"] = json!("place_another");
            operation[field] = value;
            operation
        };
        let another = with("tags", json!(["things"]));
        assert!(of(&good, &another).is_empty());
        assert_eq!(of(&good, &good), ["post /y: an id of its own"]);
        for (operation, what) in [
            (with("operationId", json!("")), "an id of its own"),
            (with("summary", json!("")), "summary"),
            (with("summary", json!("one\ntwo")), "a summary of one line"),
            (with("description", Value::Null), "description"),
            (with("tags", json!([])), "a tag that the document explains"),
            (
                with("tags", json!(["others"])),
                "a tag that the document explains",
            ),
            (
                with("requestBody", json!({"content": {"application/json": {}}})),
                "an example of its body",
            ),
        ] {
            assert_eq!(of(&good, &operation), [format!("post /y: {what}")]);
        }
    }
}
