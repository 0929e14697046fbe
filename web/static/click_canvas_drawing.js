const base = element.querySelector(".dm-base");
const overlay = element.querySelector(".dm-overlay");
const note = element.querySelector(".dm-note");
const stage = element.querySelector(".dm-stage");

// Markers that stay visible on any picture: light on dark and dark on light, told apart by + and −.
const canvas = element.querySelector("canvas");
const ink = canvas.getContext("2d");

function outline(path, ratio) {
  path();
  ink.lineWidth = 4 * ratio;
  ink.strokeStyle = "rgba(0,0,0,.55)";
  ink.stroke();
  ink.lineWidth = 2 * ratio;
  ink.strokeStyle = "#fff";
  ink.stroke();
}

function drawMarker(x, y, isPositive, ratio) {
  const radius = 9 * ratio;
  ink.beginPath();
  ink.arc(x, y, radius, 0, 2 * Math.PI);
  ink.fillStyle = isPositive ? "#fff" : "#1f1c18";
  ink.fill();
  ink.lineWidth = 2 * ratio;
  ink.strokeStyle = isPositive ? "#1f1c18" : "#fff";
  ink.stroke();
  ink.beginPath();
  ink.moveTo(x - radius / 2, y);
  ink.lineTo(x + radius / 2, y);
  if (isPositive) {
    ink.moveTo(x, y - radius / 2);
    ink.lineTo(x, y + radius / 2);
  }
  ink.stroke();
}

function drawHint(x, y, ratio) {
  for (const radius of [7, 15]) {
    outline(() => {
      ink.beginPath();
      ink.arc(x, y, radius * ratio, 0, 2 * Math.PI);
    }, ratio * 0.7);
  }
}

function drawRing(x, y, radius, ratio) {
  outline(() => {
    ink.beginPath();
    ink.arc(x, y, radius, 0, 2 * Math.PI);
  }, ratio * 0.6);
}

function drawStroke(stroke, scaleX, scaleY) {
  const points = stroke.stroke ?? stroke.points.map(([x, y]) => ({ x, y }));
  const isPositive = stroke.is_positive ?? !stroke.isNegative;
  ink.beginPath();
  for (const { x, y } of points) ink.lineTo(x * scaleX, y * scaleY);
  ink.lineTo(points.at(-1).x * scaleX + 0.01, points.at(-1).y * scaleY);
  ink.lineWidth = 2 * stroke.radius * scaleX;
  ink.lineCap = ink.lineJoin = "round";
  ink.strokeStyle = isPositive ? "rgb(255 255 255 / .55)" : "rgb(20 17 12 / .55)";
  ink.stroke();
}

function drawCross(x, y, ratio) {
  const arm = 14 * ratio;
  outline(() => {
    ink.beginPath();
    ink.moveTo(x - arm, y);
    ink.lineTo(x + arm, y);
    ink.moveTo(x, y - arm);
    ink.lineTo(x, y + arm);
  }, ratio);
}

