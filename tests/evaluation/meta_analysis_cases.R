# Writes meta_analysis_cases.json, what metafor says of environments that test_meta_analysis.py asks about.
# Rscript tests/evaluation/meta_analysis_cases.R   (Debian: apt-get install r-cran-metafor)
library(metafor)

cases <- list(
  list(right = c(180, 90, 66), counts = c(200, 120, 70)),
  list(right = c(90, 91), counts = c(100, 100)),
  list(right = c(10, 20, 30, 40), counts = c(10, 25, 40, 80)),
  list(right = c(0, 3, 12, 7, 30), counts = c(9, 10, 20, 7, 60)),
  list(right = c(5000, 4200, 4711, 4950, 3900), counts = c(6000, 6000, 6000, 6000, 6000)),
  list(right = c(1, 2, 3, 4, 5, 6), counts = c(9, 8, 7, 9, 8, 7)),
  list(right = c(812, 45, 301, 77, 9, 1540, 63), counts = c(1000, 60, 320, 150, 9, 1600, 200)),
  list(right = c(50, 50, 51, 49, 50, 50), counts = c(100, 100, 100, 100, 100, 100)),
  list(right = c(999, 1, 500, 30), counts = c(1000, 1000, 1000, 31)),
  list(right = c(33, 47, 29, 51, 40, 38, 44, 35, 60, 22, 48, 31), counts = rep(64, 12)),
  list(right = c(7, 7, 7, 7), counts = c(7, 8, 9, 10)),
  list(right = c(86, 155, 240, 912, 33), counts = c(97, 210, 251, 1300, 40))
)

number <- function(values) paste(sprintf("%.17g", values), collapse = ", ")
told <- function(case) {
  effects <- escalc(measure = "PLO", xi = case$right, ni = case$counts)
  control <- list(threshold = 1e-14, maxiter = 100000)
  fit <- rma(yi, vi, data = effects, method = "REML", test = "knha", control = control)
  at <- predict(fit, transf = transf.ilogit)
  found <- list(
    right = case$right, counts = case$counts, mean = at$pred, interval = c(at$ci.lb, at$ci.ub),
    prediction = c(at$pi.lb, at$pi.ub), logit_mean = as.numeric(fit$beta), logit_error = fit$se,
    tau_squared = fit$tau2, i_squared = fit$I2, q = fit$QE, q_p_value = fit$QEp
  )
  fields <- mapply(function(name, values) {
    several <- length(values) > 1
    paste0("\"", name, "\": ", if (several) "[", number(values), if (several) "]")
  }, names(found), found)
  paste0(" {", paste(fields, collapse = ", "), "}")
}

place <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)[1]))
lines <- paste(sapply(cases, told), collapse = ",\n")
head <- paste0("{\"metafor\": \"", packageVersion("metafor"), "\", \"cases\": [")
writeLines(c(head, lines, "]}"), file.path(place, "meta_analysis_cases.json"))
