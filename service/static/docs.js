"use strict";

function element(tag, ...content) {
  const made = document.createElement(tag);
  made.append(...content);
  return made;
}

function operation(path, method, { summary, requestBody, responses }) {
  const list = element("ul");
  if (requestBody) list.append(element("li", `takes ${Object.keys(requestBody.content).join(", ")}`));
  for (const [status, { description, content }] of Object.entries(responses)) {
    list.append(element("li", element("strong", status), ` ${description}: ${Object.keys(content).join(", ")}`));
  }
  return element("section", element("h2", `${method.toUpperCase()} ${path}`), element("p", summary), list);
}

fetch(`${document.querySelector("main").dataset.root}openapi.json`)
  .then((response) => response.json())
  .then(({ info, paths }) => {
    document.getElementById("about").textContent = info.description;
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, body] of Object.entries(methods)) {
        document.getElementById("paths").append(operation(path, method, body));
      }
    }
  });
