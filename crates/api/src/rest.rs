//! Requests and answers of API Gateway REST APIs (payload format 1.0), read and written as those of
//! the HTTP API.
//!
//! In the VPC that the template makes, sandboxes call a private REST API: interface endpoints do
//! not serve HTTP APIs.

use aws_lambda_events::apigw::{
    ApiGatewayProxyRequest, ApiGatewayProxyResponse, ApiGatewayRequestAuthorizer,
    ApiGatewayRequestAuthorizerIamDescription, ApiGatewayV2httpRequest, ApiGatewayV2httpResponse,
};
use serde::{Deserialize, Serialize};

/// A request in either format. Only a REST API names the method outside `requestContext`.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Event {
    Rest(Box<ApiGatewayProxyRequest>),
    Http(Box<ApiGatewayV2httpRequest>),
}

/// An answer in the format of its request.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Response {
    Rest(ApiGatewayProxyResponse),
    Http(ApiGatewayV2httpResponse),
}

impl Event {
    /// Answers with `handle`, which sees and writes the HTTP API's format.
    pub async fn answer(
        self,
        handle: impl AsyncFnOnce(ApiGatewayV2httpRequest) -> ApiGatewayV2httpResponse,
    ) -> Response {
        match self {
            Self::Rest(event) => Response::Rest(rest(handle(http(*event)).await)),
            Self::Http(event) => Response::Http(handle(*event).await),
        }
    }
}

fn http(event: ApiGatewayProxyRequest) -> ApiGatewayV2httpRequest {
    let mut same = ApiGatewayV2httpRequest::default();
    same.raw_path = event.path;
    same.headers = event.headers;
    same.query_string_parameters = event.query_string_parameters;
    same.body = event.body;
    same.is_base64_encoded = event.is_base64_encoded;
    same.request_context.http.method = event.http_method;
    same.request_context.account_id = event.request_context.account_id;
    // Set by API Gateway from the signature it verified, never by the caller.
    if let Some(user_arn) = event.request_context.identity.user_arn {
        let mut iam = ApiGatewayRequestAuthorizerIamDescription::default();
        iam.user_arn = Some(user_arn);
        let mut authorizer = ApiGatewayRequestAuthorizer::default();
        authorizer.iam = Some(iam);
        same.request_context.authorizer = Some(authorizer);
    }
    same
}

fn rest(answer: ApiGatewayV2httpResponse) -> ApiGatewayProxyResponse {
    let mut same = ApiGatewayProxyResponse::default();
    same.status_code = answer.status_code;
    same.headers = answer.headers;
    same.body = answer.body;
    same.is_base64_encoded = answer.is_base64_encoded;
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Answer, Request, respond};
    use serde_json::json;

    const ARN: &str = "arn:aws:sts::000000000000:assumed-role/sealfleet-sandboxes/0123";

    fn answered(event: serde_json::Value) -> (serde_json::Value, Request) {
        let event: Event = serde_json::from_value(event).unwrap();
        let mut seen = None;
        let handle = async |event| {
            let request = Request::from_event(event).unwrap();
            seen = Some(request);
            respond(Answer::json(200, &json!({"command": []})))
        };
        let response = {
            let mut answering = std::pin::pin!(event.answer(handle));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(response) = answering.as_mut().poll(&mut context) else {
                panic!("waits")
            };
            response
        };
        (serde_json::to_value(response).unwrap(), seen.unwrap())
    }

    #[test]
    fn a_rest_request_is_read_and_answered_like_one_of_the_http_api() {
        // As in the AWS document "Input format of a Lambda function for proxy integration".
        let rest = json!({
            "resource": "/v1/sandbox/step",
            "path": "/v1/sandbox/step",
            "httpMethod": "POST",
            "headers": {"Content-Type": "application/json"},
            "multiValueHeaders": {"Content-Type": ["application/json"]},
            "queryStringParameters": null,
            "multiValueQueryStringParameters": null,
            "pathParameters": null,
            "stageVariables": null,
            "requestContext": {
                "accountId": "000000000000", "apiId": "sample", "stage": "live", "path": "/live/v1/sandbox/step",
                "httpMethod": "POST", "protocol": "HTTP/1.1", "requestId": "sample", "requestTimeEpoch": 1_769_846_400_000_i64,
                "resourceId": "abc", "resourcePath": "/v1/sandbox/step",
                "identity": {"sourceIp": "10.90.0.5", "userArn": ARN, "accessKey": "ASIAEXAMPLE", "vpceId": "vpce-1"}
            },
            "body": "{\"fence\":1}",
            "isBase64Encoded": false
        });
        let (response, request) = answered(rest);
        assert_eq!(request.operation.id, "get_sandbox_step");
        assert_eq!(
            (request.caller_arn.as_deref(), request.body()),
            (Some(ARN), b"{\"fence\":1}".as_slice())
        );
        assert_eq!(request.header("content-type"), Ok(Some("application/json")));
        assert_eq!(response["statusCode"], 200);
        assert_eq!(response["body"], "{\"command\":[]}");
        assert!(
            response.get("cookies").is_none(),
            "REST APIs know no cookies in an answer"
        );
    }

    #[test]
    fn the_caller_of_a_rest_request_is_whom_api_gateway_verified() {
        let forged = json!({
            "path": "/v1/sandbox/step", "httpMethod": "POST", "headers": {},
            "requestContext": {"accountId": "000000000000", "httpMethod": "POST", "authorizer": {"iam": {"userArn": ARN}}, "identity": {"userArn": null}}
        });
        assert_eq!(answered(forged).1.caller_arn, None);
    }

    #[test]
    fn an_http_request_stays_one() {
        let http = json!({
            "version": "2.0", "rawPath": "/v1/sandbox/step", "headers": {},
            "requestContext": {
                "accountId": "000000000000", "http": {"method": "POST"}, "authorizer": {"iam": {"userArn": ARN}}
            }
        });
        let (response, request) = answered(http.clone());
        assert_eq!(request.caller_arn.as_deref(), Some(ARN));
        assert_eq!(response["cookies"], json!([]));
        // A role of the same name in another account.
        let mut foreign = http;
        foreign["requestContext"]["accountId"] = json!("111122223333");
        assert_eq!(answered(foreign).1.caller_arn, None);
    }
}
