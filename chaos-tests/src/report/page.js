// Points at one moment in all charts, and reads it out.
const steps = JSON.parse(document.getElementById("steps").textContent);
const charts = document.querySelector(".charts");
const over = document.querySelector(".over");
const cursor = document.getElementById("cursor");
charts.addEventListener("pointermove", (event) => {
  const box = over.getBoundingClientRect();
  const part = (event.clientX - box.left) / box.width;
  const step = steps[Math.floor(part * steps.length)];
  cursor.hidden = step === undefined;
  if (cursor.hidden) return;
  cursor.style.left = `${part * 100}%`;
  document.getElementById("readout").textContent = step;
});
